//! The thresholds of the plain rule. They stand here and nowhere else.

/// Class and payload thresholds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// A score below it is I/O-bound.
    pub io: f64,
    /// A score above it is CPU-bound.
    pub cpu: f64,
    /// A payload share of latency above it is too dear for processes.
    pub ipc: f64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds { io: 0.4, cpu: 0.7, ipc: 0.15 }
    }
}

/// Thresholds that make no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadThreshold {
    /// Not a share.
    #[error("`{value}` is not a threshold; hint: give `{name}` a number from 0 to 1, such as {example}")]
    OutOfRange {
        /// Its option.
        name: &'static str,
        /// What was given.
        value: f64,
        /// A value that works.
        example: f64,
    },
    /// The classes overlap.
    #[error(
        "`--io-threshold {io}` is above `--cpu-threshold {cpu}`: no score could be hybrid; hint: give the smaller one to `--io-threshold`"
    )]
    Crossed {
        /// The I/O threshold.
        io: f64,
        /// The CPU threshold.
        cpu: f64,
    },
}

impl Thresholds {
    /// Checks that they are shares and in order.
    ///
    /// # Errors
    /// Says which one is wrong.
    pub fn checked(self) -> Result<Thresholds, BadThreshold> {
        let defaults = Thresholds::default();
        for (name, value, example) in [
            ("--io-threshold", self.io, defaults.io),
            ("--cpu-threshold", self.cpu, defaults.cpu),
            ("--ipc-threshold", self.ipc, defaults.ipc),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(BadThreshold::OutOfRange { name, value, example });
            }
        }
        if self.io > self.cpu {
            return Err(BadThreshold::Crossed { io: self.io, cpu: self.cpu });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        assert!(Thresholds::default().checked().is_ok());
        assert!(Thresholds { io: f64::NAN, ..Thresholds::default() }.checked().is_err());
        assert!(Thresholds { io: 0.8, ..Thresholds::default() }.checked().is_err());
        assert!(Thresholds { ipc: 1.5, ..Thresholds::default() }.checked().is_err());
    }
}
