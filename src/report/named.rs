//! The contract's closed lists that others name too: the word of each, as it stands in the JSON, and its counterpart in a
//! verdict. Must not hold sentences.

use super::{Class, Executor};
use crate::verdict;

impl Executor {
    /// The word of the JSON report, and of the manifest.
    pub fn word(self) -> &'static str {
        match self {
            Executor::Thread => "thread",
            Executor::Process => "process",
            Executor::Interpreter => "interpreter",
            Executor::Asyncio => "asyncio",
            Executor::Serial => "serial",
            Executor::Split => "split",
        }
    }
}

impl Class {
    /// The word of the JSON report.
    pub fn word(self) -> &'static str {
        match self {
            Class::IoBound => "io-bound",
            Class::Hybrid => "hybrid",
            Class::CpuBound => "cpu-bound",
            Class::Unknown => "unknown",
        }
    }
}

impl From<verdict::Executor> for Executor {
    fn from(executor: verdict::Executor) -> Executor {
        match executor {
            verdict::Executor::Thread => Executor::Thread,
            verdict::Executor::Process => Executor::Process,
            verdict::Executor::Interpreter => Executor::Interpreter,
            verdict::Executor::Asyncio => Executor::Asyncio,
            verdict::Executor::Serial => Executor::Serial,
            verdict::Executor::Split => Executor::Split,
        }
    }
}

impl From<Executor> for verdict::Executor {
    fn from(executor: Executor) -> verdict::Executor {
        match executor {
            Executor::Thread => verdict::Executor::Thread,
            Executor::Process => verdict::Executor::Process,
            Executor::Interpreter => verdict::Executor::Interpreter,
            Executor::Asyncio => verdict::Executor::Asyncio,
            Executor::Serial => verdict::Executor::Serial,
            Executor::Split => verdict::Executor::Split,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_json() {
        use Executor::{Asyncio, Interpreter, Process, Serial, Split, Thread};
        for executor in [Thread, Process, Interpreter, Asyncio, Serial, Split] {
            assert_eq!(serde_json::to_value(executor).expect("it is a word"), executor.word());
            assert_eq!(Executor::from(verdict::Executor::from(executor)), executor);
        }
        for class in [Class::IoBound, Class::Hybrid, Class::CpuBound, Class::Unknown] {
            assert_eq!(serde_json::to_value(class).expect("it is a word"), class.word());
        }
    }
}
