//! Codes of findings: stable words. What they mean is told in docs/reasons.md. Must not hold sentences.

/// What a finding is about. Reasons and warnings of stages keep their own codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It runs under the wrong executor.
    Misrouted,
    /// The evidence does not decide.
    Undecided,
    /// No executor is declared, and none was found.
    NotJudged,
    /// The run showed too little of it.
    InsufficientData,
    /// Its command failed.
    StageFailed,
    /// Its command did not end in time.
    TimedOut,
    /// Its command ran, and the stage was not in it.
    NotSeen,
    /// It was found under another executor than the manifest says.
    ExecutorDiffers,
    /// Far too few workers.
    WorkersTooFew,
}

impl Code {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Code::Misrouted => "misrouted",
            Code::Undecided => "undecided",
            Code::NotJudged => "not-judged",
            Code::InsufficientData => "insufficient-data",
            Code::StageFailed => "stage-failed",
            Code::TimedOut => "timed-out",
            Code::NotSeen => "not-seen",
            Code::ExecutorDiffers => "executor-differs",
            Code::WorkersTooFew => "workers-too-few",
        }
    }
}
