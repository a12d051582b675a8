//! When commands ran, between the words of a report and points in time. Must not ask what time it is.

use crate::cli::session::Run;
use crate::gate::When;
use crate::report::Report;
use crate::report::check::StageResult;
use std::time::Duration;

/// Of runs one after another; `None` where there are none.
pub fn of_runs(runs: &[Run]) -> Option<When> {
    let (first, last) = (runs.first()?, runs.last()?);
    let lasted = last.timeline.wall().secs_f64() + last.timeline.stopped.secs_f64();
    when(&first.header.started_at, &last.header.started_at, lasted)
}

/// Of a saved report, which tells of its last run only.
pub fn of_report(report: &Report) -> Option<When> {
    let target = &report.target;
    when(&target.started_at, &target.started_at, target.wall_seconds + target.stopped_seconds)
}

/// Of a saved result.
pub fn of_result(result: &StageResult) -> Option<When> {
    Some(When {
        started_at: result.started_at.clone()?,
        last_run_at: result.last_run_at.clone()?,
        ended_at: result.ended_at.clone()?,
    })
}

/// `None` where a saved report holds no instant, or one that no clock shows.
fn when(first: &str, last: &str, lasted: f64) -> Option<When> {
    let began = humantime::parse_rfc3339(last).ok()?;
    let ended = began.checked_add(Duration::try_from_secs_f64(lasted).ok()?)?;
    // Four digits of a year are what can be written.
    let latest = humantime::parse_rfc3339("9999-12-31T23:59:59Z").ok()?;
    (ended <= latest).then(|| When {
        started_at: first.to_owned(),
        last_run_at: last.to_owned(),
        ended_at: humantime::format_rfc3339_millis(ended).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_follows_from_the_last_start() {
        let found = when("2026-01-02T03:04:05.250Z", "2026-01-02T23:59:59.500Z", 1.25).expect("instants");
        assert_eq!(found.started_at, "2026-01-02T03:04:05.250Z");
        assert_eq!(
            (found.last_run_at.as_str(), found.ended_at.as_str()),
            ("2026-01-02T23:59:59.500Z", "2026-01-03T00:00:00.750Z")
        );
    }

    #[test]
    fn what_is_no_time_is_unknown() {
        for (last, lasted) in [
            ("", 1.0),
            ("2026-01-02T03:04:05Z", f64::NAN),
            ("2026-01-02T03:04:05Z", 1e15),
            ("9999-12-31T23:59:59Z", 9.0),
        ] {
            assert_eq!(when(last, last, lasted), None, "{last} {lasted}");
        }
    }
}
