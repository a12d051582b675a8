//! Where CPython keeps its interpreter lock: offsets by version, in one place. Decodes bytes; reads nothing itself.
//!
//! ```text
//! 3.8 – 3.11   _PyRuntime.ceval.gil ───────────────────────────────┐
//! 3.12 –       _PyRuntime.interpreters.head ─► interp.ceval.gil ─► struct _gil_runtime_state
//!                                                                    last_holder ─► PyThreadState.native_thread_id
//! ```

/// A version of CPython: major, minor, patch.
pub type Version = (u8, u8, u8);

/// First bytes of `_Py_DebugOffsets`, which stands at the start of `_PyRuntime` from 3.13 on.
pub const COOKIE: &[u8; 8] = b"xdebugpy";
/// How much of `_Py_DebugOffsets` is decoded: up to `thread_state.native_thread_id` of 3.14.
pub const DEBUG_OFFSETS: usize = 8 * (3 + 3 + 16 + 7);
/// No structure of the runtime is larger: what says so is garbage.
const LARGEST: u64 = 4 << 20;

/// `pthread_cond_t` of 64-bit glibc and musl.
const CONDITION: u64 = 48;
/// `pthread_mutex_t` of 64-bit glibc; musl's is no larger.
const MUTEX: u64 = if cfg!(target_arch = "aarch64") { 48 } else { 40 };

/// Where the lock is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At this offset of `_PyRuntime`: one lock for all interpreters.
    Runtime(u64),
    /// A pointer to it at this offset of every interpreter.
    Interpreter(u64),
}

/// How the thread that holds it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadIdentity {
    /// `PyThreadState.native_thread_id`, at this offset.
    Native(u64),
    /// `PyThreadState.thread_id`, at this offset: a `pthread_t`.
    Pthread(u64),
}

/// Offsets of one version, in bytes. Those of the lock count from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// `_PyRuntimeState.interpreters.head`.
    pub interpreters_head: u64,
    /// `PyInterpreterState.next`.
    pub interpreter_next: u64,
    /// The lock.
    pub anchor: Anchor,
    /// `_gil_runtime_state.enabled`, in builds that can run without it.
    pub enabled: Option<u64>,
    /// `_gil_runtime_state.last_holder`.
    pub last_holder: u64,
    /// `_gil_runtime_state.locked`; always behind `last_holder`.
    pub locked: u64,
    /// Whose it is.
    pub identity: ThreadIdentity,
}

/// `struct _gil_runtime_state` of 3.8 to 3.12 (Include/internal/pycore_gil.h), 64-bit: `interval`, then these.
const LAST_HOLDER: u64 = 8;
const LOCKED: u64 = 16;

/// The table: 64-bit Linux, from the headers named above each group. No member before these depends on the size of a
/// pthread object, so x86-64 and aarch64 agree. From 3.13 on the interpreter itself says (see [`Layout::decode`]).
const KNOWN: [((u8, u8), Layout); 5] = [
    // _PyRuntimeState: Include/internal/pycore_pystate.h (3.8), pycore_runtime.h; `ceval.gil` of pycore_ceval.h.
    // PyThreadState: Include/cpython/pystate.h.
    ((3, 8), before_own_locks(32, 1152, ThreadIdentity::Pthread(176))),
    ((3, 9), before_own_locks(32, 352, ThreadIdentity::Pthread(176))),
    ((3, 10), before_own_locks(32, 352, ThreadIdentity::Pthread(176))),
    ((3, 11), before_own_locks(40, 360, ThreadIdentity::Native(160))),
    // PyInterpreterState: Include/internal/pycore_interp.h.
    (
        (3, 12),
        Layout {
            interpreters_head: 40,
            interpreter_next: 0,
            anchor: Anchor::Interpreter(384),
            enabled: None,
            last_holder: LAST_HOLDER,
            locked: LOCKED,
            identity: ThreadIdentity::Native(144),
        },
    ),
];

const fn before_own_locks(interpreters_head: u64, gil: u64, identity: ThreadIdentity) -> Layout {
    Layout {
        interpreters_head,
        interpreter_next: 0,
        anchor: Anchor::Runtime(gil),
        enabled: None,
        last_holder: LAST_HOLDER,
        locked: LOCKED,
        identity,
    }
}

impl Layout {
    /// That of a version which does not say itself.
    pub fn of((major, minor, _): Version) -> Option<Layout> {
        KNOWN.iter().find(|(known, _)| *known == (major, minor)).map(|&(_, layout)| layout)
    }

    /// From `_Py_DebugOffsets` (Include/internal/pycore_runtime.h of 3.13, pycore_debug_offsets.h of 3.14): words of 64
    /// bits, of which 3.14 has one more before those of the lock.
    pub fn decode(bytes: &[u8]) -> Option<(Version, Option<Layout>)> {
        if bytes.get(..8)? != COOKIE {
            return None;
        }
        let word = |index: usize| Some(u64::from_le_bytes(bytes.get(index * 8..index * 8 + 8)?.try_into().ok()?));
        let small = |index: usize| word(index).filter(|&value| value < LARGEST);
        let version = unpack(u32::try_from(word(1)?).ok()?)?;
        // Words before `runtime_state`, `interpreter_state`, `thread_state`; and `ceval_gil` in the second.
        let (runtime, interpreter, ceval_gil, thread) = match version {
            (3, 13, _) => (3, 6, 8, 6 + 13),
            (3, 14, _) => (3, 6, 9, 6 + 16),
            _ => return Some((version, None)),
        };
        let free_threaded = word(2)? != 0;
        let gil = interpreter + ceval_gil;
        // Some count from the interpreter, where its own lock stands at `gil_runtime_state`, some from the lock.
        let own_lock = small(gil + 1)?;
        let from_lock = |index: usize| small(index).map(|offset| offset.checked_sub(own_lock).unwrap_or(offset));
        let (enabled, locked, last_holder) = (from_lock(gil + 2)?, from_lock(gil + 3)?, from_lock(gil + 4)?);
        let layout = Layout {
            interpreters_head: small(runtime + 2)?,
            interpreter_next: small(interpreter + 2)?,
            anchor: Anchor::Interpreter(small(gil)?),
            enabled: free_threaded.then_some(enabled),
            last_holder,
            locked,
            identity: ThreadIdentity::Native(small(thread + 6)?),
        };
        let plausible = last_holder < locked && locked - last_holder == 8;
        Some((version, plausible.then_some(layout)))
    }

    /// Where the two words begin that tell who holds it, counted from the lock.
    pub fn state(&self) -> u64 {
        self.last_holder
    }

    /// Where `cond`, `mutex`, `switch_cond` and `switch_mutex` stand, counted from the lock: behind `locked` and the
    /// number of switches.
    pub fn waiting_room(&self) -> std::ops::Range<u64> {
        let start = self.locked + 16;
        start..start + 2 * (CONDITION + MUTEX)
    }
}

/// Bytes from `last_holder` to the end of `locked`.
pub const STATE: usize = 12;

/// What those bytes say: the holder's `PyThreadState` if it is held; `None` if they are no lock's.
pub fn decode_state(bytes: &[u8]) -> Option<Option<u64>> {
    let holder = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    match i32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?) {
        0 => Some(None),
        1 => Some(Some(holder)),
        // -1 before the lock is made and after it is destroyed.
        _ => None,
    }
}

/// `PY_VERSION_HEX`.
pub fn unpack(hex: u32) -> Option<Version> {
    let [major, minor, patch, _] = hex.to_be_bytes();
    (major == 3 && minor < 100).then_some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `_Py_DebugOffsets` as a 3.13.0 has it in memory.
    fn debug_offsets(hex: u64, free_threaded: u64, extra: usize) -> Vec<u8> {
        let mut words = vec![u64::from_le_bytes(*COOKIE), hex, free_threaded, 283_320, 624, 632];
        words.extend([7200, 7272, 7264, 7344]);
        words.extend(std::iter::repeat_n(0, extra));
        words.extend([7500, 7600, 7700, 7800, 16, 9000, 0, 9016, 9008]);
        words.extend(std::iter::repeat_n(0, if extra == 0 { 0 } else { 2 }));
        words.extend([320, 0, 8, 16, 72, 152, 160, 200, 36]);
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    #[test]
    fn an_interpreter_that_says_itself_is_believed() {
        for (hex, extra, version) in [(0x030d_00f0, 0, (3, 13, 0)), (0x030e_02f0, 1, (3, 14, 2))] {
            let (found, layout) = Layout::decode(&debug_offsets(hex, 0, extra)).unwrap();
            let layout = layout.unwrap();
            assert_eq!(found, version);
            assert_eq!((layout.interpreters_head, layout.interpreter_next), (632, 7264));
            assert_eq!(layout.anchor, Anchor::Interpreter(16));
            assert_eq!((layout.last_holder, layout.locked, layout.enabled), (8, 16, None));
            assert_eq!(layout.identity, ThreadIdentity::Native(160));
        }
        let (_, layout) = Layout::decode(&debug_offsets(0x030d_00f0, 1, 0)).unwrap();
        assert_eq!(layout.unwrap().enabled, Some(0), "free-threaded");
        let (version, layout) = Layout::decode(&debug_offsets(0x030f_00f0, 0, 1)).unwrap();
        assert_eq!((version, layout), ((3, 15, 0), None), "a version to come is named, not guessed at");
    }

    #[test]
    fn older_versions_are_in_the_table() {
        for minor in 8..=12 {
            assert!(Layout::of((3, minor, 0)).is_some(), "3.{minor}");
        }
        assert_eq!(Layout::of((3, 7, 9)), None);
        assert_eq!(Layout::of((2, 7, 18)), None);
        assert_eq!(Layout::of((3, 11, 4)).unwrap().waiting_room().start, 32);
    }

    #[test]
    fn a_lock_is_free_held_or_none() {
        let state = |holder: u64, locked: i32| [&holder.to_le_bytes()[..], &locked.to_le_bytes()].concat();
        assert_eq!(decode_state(&state(7, 0)), Some(None));
        assert_eq!(decode_state(&state(7, 1)), Some(Some(7)));
        assert_eq!(decode_state(&state(7, -1)), None);
        assert_eq!(decode_state(&state(7, 77)), None);
        assert_eq!(decode_state(&[0; 11]), None);
    }

    proptest! {
        #[test]
        fn garbage_is_no_layout(bytes in prop::collection::vec(any::<u8>(), 0..300), cookie: bool) {
            let bytes = if cookie { [&COOKIE[..], &bytes].concat() } else { bytes };
            if let Some((_, Some(layout))) = Layout::decode(&bytes) {
                prop_assert!(layout.locked < LARGEST);
            }
            let _ = decode_state(&bytes);
        }
    }
}
