//! What an ELF file says of itself that is needed before it is worth a look as an interpreter. Reads few and bounded
//! parts with `pread`: the file belongs to the target, which may truncate it any time.

use std::os::unix::fs::FileExt;

/// Longest symbol or string table that is read.
const LONGEST_TABLE: u64 = 16 << 20;
/// Most section or program headers of a sane file.
const MOST_HEADERS: u16 = 512;
/// Names of symbols, each with the byte that ends it.
const RUNTIME: &[u8] = b"_PyRuntime\0";
const VERSION: &[u8] = b"Py_Version\0";

// elf.h
const ELF64_LITTLE_ENDIAN: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
const TYPE_DYNAMIC: u16 = 3;
const SEGMENT_LOAD: u32 = 1;
const SECTION_SYMBOLS: u32 = 2;
const SECTION_NO_BITS: u32 = 8;
const SECTION_DYNAMIC_SYMBOLS: u32 = 11;
const FLAG_THREAD_LOCAL: u64 = 0x400;
const PAGE: u64 = 4096;

/// What was found; addresses are those before relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elf {
    /// The address of what lies at the file's start; `None` where the file is not relocated.
    pub relocated_from: Option<u64>,
    /// The symbol `_PyRuntime`: CPython's state.
    pub runtime: Option<u64>,
    /// The symbol `Py_Version` (3.11 and later).
    pub version: Option<u64>,
    /// Address and size of `.bss`.
    pub bss: Option<(u64, u64)>,
}

/// Reads a file's headers and looks two symbols up; `None` where it is no 64-bit ELF file of this machine's byte order.
pub fn read(file: &impl FileExt) -> Option<Elf> {
    let header: [u8; 64] = bytes(file, 0)?;
    if header[..6] != ELF64_LITTLE_ENDIAN {
        return None;
    }
    let dynamic = short(&header, 16)? == TYPE_DYNAMIC;
    let mut relocated_from = None;
    let (programs, size, count) = (long(&header, 32)?, short(&header, 54)?, short(&header, 56)?);
    if size >= 56 {
        for index in 0..count.min(MOST_HEADERS) {
            let entry: [u8; 56] = bytes(file, programs.checked_add(u64::from(index) * u64::from(size))?)?;
            if word(&entry, 0)? == SEGMENT_LOAD && long(&entry, 8)? < PAGE {
                relocated_from = Some(long(&entry, 16)? / PAGE * PAGE);
                break;
            }
        }
    }
    let mut elf = Elf { relocated_from: relocated_from.filter(|_| dynamic), runtime: None, version: None, bss: None };
    let sections = sections(file, &header).unwrap_or_default();
    elf.bss = sections
        .iter()
        .filter(|section| section.kind == SECTION_NO_BITS && section.flags & FLAG_THREAD_LOCAL == 0)
        .map(|section| (section.address, section.size))
        .max_by_key(|&(_, size)| size);
    for wanted in [SECTION_DYNAMIC_SYMBOLS, SECTION_SYMBOLS] {
        if elf.runtime.is_none()
            && let Some(table) = sections.iter().find(|section| section.kind == wanted)
            && let Some(strings) = sections.get(table.link as usize)
        {
            look_up(file, table, strings, &mut elf);
        }
    }
    Some(elf)
}

/// A section header, as far as it matters here.
#[derive(Debug, Clone, Copy)]
struct Section {
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
}

fn sections(file: &impl FileExt, header: &[u8]) -> Option<Vec<Section>> {
    let (at, size, count) = (long(header, 40)?, short(header, 58)?, short(header, 60)?.min(MOST_HEADERS));
    if size != 64 {
        return None;
    }
    let mut table = vec![0; usize::from(count) * 64];
    file.read_exact_at(&mut table, at).ok()?;
    let section = |entry: &[u8]| {
        Some(Section {
            kind: word(entry, 4)?,
            flags: long(entry, 8)?,
            address: long(entry, 16)?,
            offset: long(entry, 24)?,
            size: long(entry, 32)?,
            link: word(entry, 40)?,
        })
    };
    table.chunks_exact(64).map(section).collect()
}

/// Finds the two symbols in a table. Most files do not name the first one, and then their symbols are not read.
fn look_up(file: &impl FileExt, table: &Section, strings: &Section, elf: &mut Elf) -> Option<()> {
    let text = part(file, strings)?;
    if !text.windows(RUNTIME.len() + 1).any(|window| window[0] == 0 && &window[1..] == RUNTIME) {
        return None;
    }
    for entry in part(file, table)?.chunks_exact(24) {
        let defined = short(entry, 6)? != 0;
        let name = text.get(word(entry, 0)? as usize..).unwrap_or_default();
        if defined && name.starts_with(RUNTIME) {
            elf.runtime = long(entry, 8);
        } else if defined && name.starts_with(VERSION) {
            elf.version = long(entry, 8);
        }
    }
    Some(())
}

fn part(file: &impl FileExt, section: &Section) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(section.size.min(LONGEST_TABLE)).ok()?];
    file.read_exact_at(&mut bytes, section.offset).ok()?;
    Some(bytes)
}

fn bytes<const N: usize>(file: &impl FileExt, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Error, ErrorKind, Result};

    struct Memory(Vec<u8>);

    impl FileExt for Memory {
        fn read_at(&self, into: &mut [u8], at: u64) -> Result<usize> {
            let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).ok_or(Error::from(ErrorKind::Other))?;
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn write_at(&self, _: &[u8], _: u64) -> Result<usize> {
            Err(Error::from(ErrorKind::Unsupported))
        }
    }

    #[test]
    fn we_are_an_elf_file_and_no_python() {
        let own = std::fs::File::open("/proc/self/exe").unwrap();
        let elf = read(&own).unwrap();
        assert!(elf.relocated_from.is_some() && elf.bss.is_some());
        assert_eq!((elf.runtime, elf.version), (None, None));
    }

    proptest! {
        #[test]
        fn garbage_is_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 64..600), sections in 0u8..4) {
            bytes[..6].copy_from_slice(&ELF64_LITTLE_ENDIAN);
            // Headers that lie within the file, so that what they say is followed.
            bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
            bytes[40..48].copy_from_slice(&64u64.to_le_bytes());
            bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
            bytes[58..60].copy_from_slice(&64u16.to_le_bytes());
            bytes[60..62].copy_from_slice(&u16::from(sections).to_le_bytes());
            let _ = read(&Memory(bytes));
        }
    }
}
