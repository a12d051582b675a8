//! The target's environment: the caller's, with a few announced changes. Whatever is not changed stays as it is, byte for
//! byte and in its place. Must not read the caller's: it is passed in.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A change to one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentChange {
    /// It holds this, whatever it held before.
    Set {
        /// Its name.
        name: Cow<'static, str>,
        /// Its value.
        value: OsString,
    },
    /// It is a list with colons between its entries, and this becomes the first.
    Prepend {
        /// Its name.
        name: &'static str,
        /// The entry.
        entry: OsString,
    },
    /// It is not there.
    Remove {
        /// Its name.
        name: &'static str,
    },
}

/// The environment with these changes. Of several entries of a name the first counts, as it does for `getenv`: it is
/// changed where it stands, and the others are left. What is new comes last.
pub(super) fn changed(mut entries: Vec<OsString>, changes: &[EnvironmentChange]) -> Vec<OsString> {
    for change in changes {
        match change {
            EnvironmentChange::Set { name, value } => put(&mut entries, name, |_| value.clone()),
            EnvironmentChange::Prepend { name, entry } => put(&mut entries, name, |before| match before {
                // An empty list is no list: Python would take an empty entry for the working directory.
                Some(before) if !before.is_empty() => {
                    OsString::from_vec([entry.as_bytes(), b":", before.as_bytes()].concat())
                }
                _ => entry.clone(),
            }),
            EnvironmentChange::Remove { name } => entries.retain(|entry| value_of(entry, name).is_none()),
        }
    }
    entries
}

fn put(entries: &mut Vec<OsString>, name: &str, value: impl FnOnce(Option<&OsStr>) -> OsString) {
    let place = entries.iter().position(|entry| value_of(entry, name).is_some());
    let value = value(place.and_then(|place| value_of(&entries[place], name)));
    let entry = OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat());
    match place {
        Some(place) => entries[place] = entry,
        None => entries.push(entry),
    }
}

fn value_of<'a>(entry: &'a OsStr, name: &str) -> Option<&'a OsStr> {
    let rest = entry.as_bytes().strip_prefix(name.as_bytes())?;
    rest.strip_prefix(b"=").map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[&[u8]], changes: &[EnvironmentChange]) -> Vec<Vec<u8>> {
        let entries = entries.iter().map(|entry| OsStr::from_bytes(entry).to_owned()).collect();
        changed(entries, changes).into_iter().map(OsString::into_vec).collect()
    }

    fn prepend() -> EnvironmentChange {
        EnvironmentChange::Prepend { name: "PYTHONPATH", entry: "/a".into() }
    }

    #[test]
    fn what_is_not_changed_stays_as_it_is() {
        let odd: &[&[u8]] = &[b"B=2", b"no equals", b"=C:=x", b"A=\xff\xfe", b"A=twice", b"PYTHONPATH_=1", b""];
        assert_eq!(of(odd, &[]), odd);
        let mut wanted: Vec<Vec<u8>> = odd.iter().map(|entry| entry.to_vec()).collect();
        wanted.push(b"PYTHONPATH=/a".to_vec());
        assert_eq!(of(odd, &[prepend()]), wanted);
    }

    #[test]
    fn the_first_entry_of_a_name_is_changed_in_its_place() {
        assert_eq!(
            of(&[b"PYTHONPATH=/x:\xff", b"Z=1", b"PYTHONPATH=/y"], &[prepend()]),
            [&b"PYTHONPATH=/a:/x:\xff"[..], b"Z=1", b"PYTHONPATH=/y"]
        );
        assert_eq!(of(&[b"PYTHONPATH=", b"Z=1"], &[prepend()]), [&b"PYTHONPATH=/a"[..], b"Z=1"]);
        let set = EnvironmentChange::Set { name: "V".into(), value: "2".into() };
        assert_eq!(of(&[b"V=1", b"W=1", b"V=0"], &[set]), [&b"V=2"[..], b"W=1", b"V=0"]);
        let remove = EnvironmentChange::Remove { name: "V" };
        assert_eq!(of(&[b"V=1", b"W=1", b"V=0"], &[remove]), [&b"W=1"[..]]);
    }
}
