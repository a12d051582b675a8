//! Adds up how long the target was stopped. Must not look for stops itself: it is told of them.

use super::running::News;
use crate::units::{Span, Timestamp};

/// The stops of one target; each is counted once, however many signals tell of it.
#[derive(Debug, Default)]
pub(super) struct Stops {
    since: Option<Timestamp>,
    total: Span,
}

impl Stops {
    /// The program begins: forget what was before.
    pub(super) fn begin(&mut self, at: Timestamp) {
        *self = Stops { since: self.since.map(|_| at), total: Span::ZERO };
    }

    /// Whether the target is stopped now.
    pub(super) fn is_stopped(&self) -> bool {
        self.since.is_some()
    }

    /// All stops that are over.
    pub(super) fn total(&self) -> Span {
        self.total
    }

    /// The target was seen to stop.
    pub(super) fn stopped(&mut self, at: Timestamp, news: &mut Vec<News>) {
        if self.since.is_none() {
            self.since = Some(at);
            news.push(News::Stopped { at });
        }
    }

    /// The target was seen to continue; if its stop was not seen, poolpick was itself stopped since `last_look`.
    pub(super) fn missed_or_continued(&mut self, at: Timestamp, last_look: Timestamp, news: &mut Vec<News>) {
        self.stopped(last_look, news);
        self.continued(at, news);
    }

    /// The target continues, or has ended: a stop that is under way is over.
    pub(super) fn continued(&mut self, at: Timestamp, news: &mut Vec<News>) {
        if let Some(since) = self.since.take() {
            self.total += at.since(since);
            news.push(News::Continued { at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_counts_once() {
        let (mut stops, mut news) = (Stops::default(), Vec::new());
        // stopped at 10, told again at 12, continues at 15, told again at 16
        stops.stopped(Timestamp(10), &mut news);
        stops.stopped(Timestamp(12), &mut news);
        assert!(stops.is_stopped());
        stops.continued(Timestamp(15), &mut news);
        stops.continued(Timestamp(16), &mut news);
        assert_eq!(stops.total(), Span(5));
        assert_eq!(news, [News::Stopped { at: Timestamp(10) }, News::Continued { at: Timestamp(15) }]);
    }

    #[test]
    fn a_stop_that_nobody_saw_began_after_the_last_look() {
        let (mut stops, mut news) = (Stops::default(), Vec::new());
        stops.missed_or_continued(Timestamp(30), Timestamp(20), &mut news);
        assert_eq!(stops.total(), Span(10));
        assert_eq!(news.len(), 2);
    }

    #[test]
    fn a_program_that_begins_has_not_stopped_before() {
        let (mut stops, mut news) = (Stops::default(), Vec::new());
        stops.stopped(Timestamp(1), &mut news);
        stops.continued(Timestamp(3), &mut news);
        stops.begin(Timestamp(4));
        assert_eq!(stops.total(), Span::ZERO);
    }
}
