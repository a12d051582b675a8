//! What perf's records mean: bytes in, events out. No system call here.

use crate::sys::ring::RawRecord;
use crate::trace::{Event, Ids, SwitchOut};
use crate::units::Timestamp;

// linux/perf_event.h, enum perf_event_type.
const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const FORK: u32 = 7;
const LOST_SAMPLES: u32 = 13;
const SWITCH: u32 = 14;
// Bits of `misc`; the meaning depends on the type.
const MISC_COMM_EXEC: u16 = 1 << 13;
const MISC_SWITCH_OUT: u16 = 1 << 13;
const MISC_SWITCH_OUT_PREEMPT: u16 = 1 << 14;

/// `sample_type` of the events: every record ends with process and thread id and the time (`sample_id_all`).
pub const SAMPLE_TYPE: u64 = (1 << 1) | (1 << 2);
/// Bytes of that trailer.
const TRAILER: usize = 16;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Whether ids name a living task: 0 is the idle task, -1 one that has no id in our namespace any more.
fn is_task(ids: Ids) -> bool {
    let named = |id: u32| id != 0 && id != u32::MAX;
    named(ids.pid) && named(ids.tid)
}

/// The event that a record tells of; `None` for records of other kinds or malformed ones.
pub fn decode(record: RawRecord<'_>) -> Option<Event> {
    let body = record.body;
    let trailer = body.len().checked_sub(TRAILER)?;
    let ids = Ids { pid: word(body, trailer)?, tid: word(body, trailer + 4)? };
    let at = Timestamp(long(body, trailer + 8)?);
    match record.kind {
        SWITCH if !is_task(ids) => None,
        SWITCH if record.misc & MISC_SWITCH_OUT == 0 => Some(Event::SwitchIn { at, ids }),
        SWITCH => {
            let preempted = record.misc & MISC_SWITCH_OUT_PREEMPT != 0;
            let why = if preempted { SwitchOut::Preempted } else { SwitchOut::Blocked };
            Some(Event::SwitchOut { at, ids, why })
        }
        FORK | EXIT => {
            let ids = Ids { pid: word(body, 0)?, tid: word(body, 8)? };
            let parent = Ids { pid: word(body, 4)?, tid: word(body, 12)? };
            let at = Timestamp(long(body, 16)?);
            if record.kind == FORK { Some(Event::Fork { at, ids, parent }) } else { Some(Event::Exit { at, ids }) }
        }
        COMM if record.misc & MISC_COMM_EXEC != 0 => {
            let ids = Ids { pid: word(body, 0)?, tid: word(body, 4)? };
            let name = body.get(8..trailer)?;
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
            Some(Event::Exec { at, ids, name: String::from_utf8_lossy(&name[..end]).into_owned() })
        }
        LOST => Some(Event::Lost { at, records: long(body, 8)? }),
        LOST_SAMPLES => Some(Event::Lost { at, records: long(body, 0)? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u32, misc: u16, body: &[u8]) -> Option<Event> {
        decode(RawRecord { kind, misc, body })
    }

    fn trailer(pid: u32, tid: u32, at: u64) -> Vec<u8> {
        [pid.to_ne_bytes().to_vec(), tid.to_ne_bytes().to_vec(), at.to_ne_bytes().to_vec()].concat()
    }

    #[test]
    fn a_switch_tells_preempted_from_blocked() {
        let ids = Ids { pid: 7, tid: 8 };
        let body = trailer(7, 8, 99);
        assert_eq!(record(SWITCH, 0, &body), Some(Event::SwitchIn { at: Timestamp(99), ids }));
        let why = SwitchOut::Blocked;
        assert_eq!(record(SWITCH, 1 << 13, &body), Some(Event::SwitchOut { at: Timestamp(99), ids, why }));
        let why = SwitchOut::Preempted;
        assert_eq!(record(SWITCH, 3 << 13, &body), Some(Event::SwitchOut { at: Timestamp(99), ids, why }));
        assert_eq!(record(SWITCH, 0, &trailer(u32::MAX, u32::MAX, 1)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(kind in 0u32..20, misc: u16, body in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = record(kind, misc, &body);
        }
    }
}
