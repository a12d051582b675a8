//! Finds the interpreter of a process: which mapped file holds it, where that was loaded, where its lock stands.
//!
//! What a file says is kept by its identity, so that a short worker costs one look at its mappings and two reads.
//! py-spy knows versions that have no symbol for them; the symbols themselves are looked up here, since py-spy reads all
//! of a file's, which takes longer than a short worker lives.

use super::elf;
use super::layout::{Anchor, COOKIE, DEBUG_OFFSETS, Layout, Version, unpack};
use crate::sys::memory;
use py_spy::binary_parser::BinaryInfo;
use py_spy::python_process_info::{PythonProcessInfo, get_python_version};
use rustc_hash::FxHashMap;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most interpreters of a process whose locks are looked at: two reads of memory each, a few times a second.
const MOST_INTERPRETERS: usize = 256;
/// Most files of a process that are looked into.
const MOST_CANDIDATES: usize = 4;
/// Most files that are remembered.
const MOST_BINARIES: usize = 4096;
/// No switch interval is longer: a minute, in microseconds.
const LONGEST_INTERVAL: u64 = 60_000_000;

/// Where a process's interpreter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// Its version.
    pub version: Version,
    /// Its offsets.
    pub layout: Layout,
    /// `_PyRuntime`.
    pub runtime: u64,
    /// The lock.
    pub gil: u64,
}

/// What came of a look at a process.
#[derive(Debug)]
pub enum Look {
    /// An interpreter whose lock can be read.
    Found(Located),
    /// An interpreter that runs without its lock.
    Lockless(Version),
    /// Interpreters with locks of their own.
    Several(Version),
    /// An interpreter of a kind that is not known here.
    Unknown(Version, String),
    /// A file of an interpreter is mapped, but there is no lock yet, for this reason.
    NotYet(Version, &'static str),
    /// No interpreter so far.
    Nothing,
    /// Its memory or mappings may not be read.
    Refused(io::Error),
    /// It is gone.
    Gone,
}

/// A file's identity: device and inode as mapped, then size and time of its last change.
type Identity = (u64, u64, u64, i64);

/// What a file says of an interpreter in it.
#[derive(Debug, Clone, Copy)]
struct Binary {
    elf: elf::Elf,
    runtime: u64,
    /// Its version, once known.
    version: Option<Version>,
}

/// Files that were looked into: `None` holds no interpreter.
#[derive(Debug, Default)]
pub struct Binaries {
    known: FxHashMap<Identity, Option<Binary>>,
}

/// A file in a process's address space.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapped {
    start: u64,
    device: u64,
    inode: u64,
    path: PathBuf,
}

impl Binaries {
    /// Looks at a process.
    pub fn look(&mut self, root: &Path, pid: u32) -> Look {
        let folder = root.join(pid.to_string());
        let maps = match std::fs::read(folder.join("maps")) {
            Ok(maps) => maps,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Look::Refused(error),
            Err(_) => return Look::Gone,
        };
        let exe = std::fs::read_link(folder.join("exe")).unwrap_or_default();
        let mut nameless = None;
        for mapped in candidates(&maps, &exe).into_iter().take(MOST_CANDIDATES) {
            let named = named_version(&mapped.path);
            let Some((identity, binary)) = self.binary(&folder, &mapped, mapped.path == exe) else { continue };
            let Some(binary) = binary else {
                // Python by its name: its library is yet to be loaded, or it is 2.7 or 3.6, or stripped.
                nameless = nameless.or(named);
                continue;
            };
            let bias = binary.elf.relocated_from.map_or(0, |from| mapped.start.wrapping_sub(from));
            return self.look_into(pid, identity, binary, bias, named);
        }
        nameless.map_or(Look::Nothing, |version| Look::NotYet(version, "it has no symbol `_PyRuntime`"))
    }

    /// What a mapped file holds, from what is remembered or from the file.
    fn binary(&mut self, folder: &Path, mapped: &Mapped, is_exe: bool) -> Option<(Identity, Option<Binary>)> {
        let path = if is_exe {
            folder.join("exe")
        } else {
            folder.join("root").join(mapped.path.strip_prefix("/").unwrap_or(&mapped.path))
        };
        // Nothing but a regular file is opened: a pipe would wait for its other end.
        let metadata = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        let identity = (mapped.device, mapped.inode, metadata.size(), metadata.mtime());
        if let Some(&known) = self.known.get(&identity) {
            return Some((identity, known));
        }
        let elf = File::open(&path).ok().and_then(|file| elf::read(&file));
        let binary = elf.and_then(|elf| elf.runtime.map(|runtime| Binary { elf, runtime, version: None }));
        if self.known.len() >= MOST_BINARIES {
            self.known.clear();
        }
        self.known.insert(identity, binary);
        Some((identity, binary))
    }

    /// Reads what a loaded interpreter says of itself.
    fn look_into(&mut self, pid: u32, identity: Identity, binary: Binary, bias: u64, named: Option<Version>) -> Look {
        let runtime = bias.wrapping_add(binary.runtime);
        let named = binary.version.or(named).unwrap_or((3, 0, 0));
        let mut start = [0; DEBUG_OFFSETS];
        if let Err(error) = memory::read(pid, runtime, &mut start) {
            return failed(error, named);
        }
        let (version, layout) = if &start[..8] == COOKIE {
            match Layout::decode(&start) {
                Some((version, Some(layout))) => (version, layout),
                Some((version, None)) => return unknown(version),
                None => return Look::NotYet(named, "what it says of itself is not plausible"),
            }
        } else {
            let Some(version) = binary.version.or_else(|| version_of(pid, &binary, bias)) else {
                return Look::NotYet(named, "its version is not known");
            };
            match Layout::of(version) {
                Some(layout) => (version, layout),
                // From 3.13 on the offsets are there from the start.
                None => return unknown(version),
            }
        };
        if let Some(Some(known)) = self.known.get_mut(&identity) {
            known.version = Some(version);
        }
        match lock_of(pid, runtime, &layout) {
            Ok(Lock::At(gil)) => Look::Found(Located { version, layout, runtime, gil }),
            Ok(Lock::Unmade) => Look::NotYet(version, "no lock is where this version keeps it"),
            Ok(Lock::Disabled) => Look::Lockless(version),
            Ok(Lock::Several) => Look::Several(version),
            Ok(Lock::Uncounted) => Look::Unknown(version, uncounted()),
            Err(error) => failed(error, version),
        }
    }
}

fn unknown(version: Version) -> Look {
    let (major, minor, _) = version;
    Look::Unknown(version, format!("CPython {major}.{minor} is not known: 3.8 to 3.14 are"))
}

/// Why the lock of very many interpreters is not read.
pub fn uncounted() -> String {
    format!("it has more than {MOST_INTERPRETERS} interpreters, some of which may have a lock of their own")
}

/// Memory that is not mapped yet, or any more, is no failure.
fn failed(error: io::Error, version: Version) -> Look {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => Look::Refused(error),
        Some(libc::ESRCH) => Look::Gone,
        _ => Look::NotYet(version, "its state is not mapped"),
    }
}

/// The lock of a live runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// It is here.
    At(u64),
    /// It has not been made yet, or is destroyed.
    Unmade,
    /// The build can do without, and does.
    Disabled,
    /// Interpreters have locks of their own.
    Several,
    /// There are more interpreters than are looked at: the others may have locks of their own.
    Uncounted,
}

/// Finds the lock.
///
/// # Errors
/// Those of reading memory.
pub fn lock_of(pid: u32, runtime: u64, layout: &Layout) -> io::Result<Lock> {
    let mut interpreter = pointer(pid, runtime.wrapping_add(layout.interpreters_head))?;
    let lock = match layout.anchor {
        _ if interpreter == 0 => return Ok(Lock::Unmade),
        Anchor::Runtime(offset) => runtime.wrapping_add(offset),
        Anchor::Interpreter(offset) => {
            // The list begins with the newest interpreter and ends with the first one, whose lock is made first.
            let mut lock = 0;
            let mut looked_at = 0;
            while interpreter != 0 {
                if looked_at == MOST_INTERPRETERS {
                    return Ok(Lock::Uncounted);
                }
                looked_at += 1;
                match pointer(pid, interpreter.wrapping_add(offset))? {
                    0 => {}
                    found if lock == 0 || lock == found => lock = found,
                    _ => return Ok(Lock::Several),
                }
                interpreter = pointer(pid, interpreter.wrapping_add(layout.interpreter_next))?;
            }
            lock
        }
    };
    if lock == 0 {
        return Ok(Lock::Unmade);
    }
    if let Some(enabled) = layout.enabled {
        let mut word = [0; 4];
        memory::read(pid, lock.wrapping_add(enabled), &mut word)?;
        if u32::from_le_bytes(word) == 0 {
            return Ok(Lock::Disabled);
        }
    }
    // `interval` stands before `last_holder` in all of them; `locked` is -1 until the lock is made.
    let interval = pointer(pid, lock.wrapping_add(layout.last_holder).wrapping_sub(8))?;
    let mut locked = [0; 4];
    memory::read(pid, lock.wrapping_add(layout.locked), &mut locked)?;
    let made = matches!(i32::from_le_bytes(locked), 0 | 1);
    Ok(if made && (1..=LONGEST_INTERVAL).contains(&interval) { Lock::At(lock) } else { Lock::Unmade })
}

/// A word of a process's memory.
///
/// # Errors
/// Those of reading memory.
pub fn pointer(pid: u32, address: u64) -> io::Result<u64> {
    let mut word = [0; 8];
    memory::read(pid, address, &mut word)?;
    Ok(u64::from_le_bytes(word))
}

/// By the symbol `Py_Version`, else by the text that `sys.version` is made of, which py-spy finds.
fn version_of(pid: u32, binary: &Binary, bias: u64) -> Option<Version> {
    if let Some(symbol) = binary.elf.version {
        let mut word = [0; 4];
        memory::read(pid, bias.wrapping_add(symbol), &mut word).ok()?;
        return unpack(u32::from_le_bytes(word));
    }
    let (bss, bss_size) = binary.elf.bss.filter(|&(_, size)| size < 64 << 20)?;
    let process = remoteprocess::Process::new(i32::try_from(pid).ok()?).ok()?;
    let parsed = BinaryInfo {
        symbols: HashMap::new(),
        bss_addr: bias.wrapping_add(bss),
        bss_size,
        pyruntime_addr: 0,
        pyruntime_size: 0,
        addr: bias,
        size: 0,
    };
    let info = PythonProcessInfo {
        python_binary: Some(parsed),
        libpython_binary: None,
        maps: Box::new(Vec::new()),
        python_filename: PathBuf::new(),
        dockerized: false,
    };
    let version = get_python_version(&info, &process).ok()?;
    let part = |number: u64| u8::try_from(number).ok();
    Some((part(version.major)?, part(version.minor)?, part(version.patch)?))
}

/// Files that may hold an interpreter, the likeliest first: `libpython…`, `python…`, then the executable.
fn candidates(maps: &[u8], exe: &Path) -> Vec<Mapped> {
    let mut found: Vec<(u8, Mapped)> = Vec::new();
    for line in maps.split(|&byte| byte == b'\n') {
        let Some(mapped) = mapping(line) else { continue };
        let name = mapped.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let rank = if name.starts_with("libpython") && name.contains(".so") {
            0
        } else if name.starts_with("python") && !name.contains(".so") {
            1
        } else if mapped.path == exe {
            2
        } else {
            continue;
        };
        if !found.iter().any(|(_, other)| (other.device, other.inode) == (mapped.device, mapped.inode)) {
            found.push((rank, mapped));
        }
    }
    found.sort_by_key(|&(rank, _)| rank);
    found.into_iter().map(|(_, mapped)| mapped).collect()
}

/// A line of /proc/PID/maps that maps a file's start:
/// `55d0c8a00000-55d0c8a01000 r--p 00000000 08:01 123456    /usr/bin/python3.11`.
fn mapping(line: &[u8]) -> Option<Mapped> {
    let line = str::from_utf8(line).ok()?;
    let mut words = line.splitn(6, ' ');
    let (range, _, offset, device, inode) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let path = words.next()?.trim_start();
    if !offset.bytes().all(|digit| digit == b'0') || !path.starts_with('/') {
        return None;
    }
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (major, minor) = device.split_once(':')?;
    Some(Mapped {
        start: hex(range.split_once('-')?.0)?,
        device: hex(major)? << 32 | hex(minor)?,
        inode: inode.parse().ok().filter(|&inode| inode != 0)?,
        path: PathBuf::from(path),
    })
}

/// The version in a name such as `libpython3.9.so.1.0` or `python2.7`.
fn named_version(path: &Path) -> Option<Version> {
    let name = path.file_name()?.to_str()?;
    let rest = name.strip_prefix("lib").unwrap_or(name).strip_prefix("python")?;
    let (major, rest) = rest.split_once('.')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    Some((major.parse().ok()?, rest[..digits].parse().ok()?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAPS: &[u8] = b"\
55d0c8a00000-55d0c8a01000 r--p 00000000 08:01 17    /opt/my python/bin/python3.9
55d0c8a01000-55d0c8a02000 r-xp 00001000 08:01 17    /opt/my python/bin/python3.9
55d0c9000000-55d0c9100000 rw-p 00000000 00:00 0     [heap]
7f0000000000-7f0000100000 r--p 00000000 08:01 18    /opt/my python/lib/libpython3.9.so.1.0
7f0000200000-7f0000300000 r--p 00000000 08:01 19    /usr/lib/libboost_python39.so.1.74.0
7f0000400000-7f0000500000 r--p 00000000 08:01 20    /usr/lib/python3/_json.cpython-39-x86_64-linux-gnu.so
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0     [stack]
";

    #[test]
    fn the_library_comes_before_the_program() {
        let found = candidates(MAPS, Path::new("/opt/my python/bin/python3.9"));
        let paths: Vec<&str> = found.iter().filter_map(|mapped| mapped.path.to_str()).collect();
        assert_eq!(paths, ["/opt/my python/lib/libpython3.9.so.1.0", "/opt/my python/bin/python3.9"]);
        assert_eq!((found[0].start, found[0].device, found[0].inode), (0x7f00_0000_0000, 8 << 32 | 1, 18));
        let embedded = candidates(b"00400000-00500000 r-xp 00000000 08:01 9 /srv/uwsgi", Path::new("/srv/uwsgi"));
        assert_eq!(embedded.len(), 1, "any executable may hold one");
    }

    #[test]
    fn names_tell_versions() {
        let version = |name: &str| named_version(Path::new(name));
        assert_eq!(version("/usr/bin/python2.7"), Some((2, 7, 0)));
        assert_eq!(version("/usr/lib/libpython3.14t.so.1.0"), Some((3, 14, 0)));
        assert_eq!(version("/usr/bin/python3"), None);
        assert_eq!(version("/usr/bin/perl5.36"), None);
    }

    proptest! {
        #[test]
        fn any_mappings_are_read_without_panic(maps in prop::collection::vec(any::<u8>(), 0..200), name in ".{0,20}") {
            let _ = candidates(&maps, Path::new("/x"));
            let _ = mapping(format!("1-2 r--p 0 {name} 5 /{name}").as_bytes());
            let _ = named_version(Path::new(&format!("/python3.{name}")));
        }
    }
}
