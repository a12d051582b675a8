//! Where a manifest is looked for: from the working directory up to the repository's root, and without a repository in
//! the working directory alone. What others may write is not trusted. Must not read a manifest's contents, but for
//! whether a `pyproject.toml` has ours.

use super::{LARGEST, TOOL_TABLE, is_pyproject};
use crate::sys::identity::effective_uid;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The names of a manifest; in one directory the first that is there is taken.
pub const NAMES: [&str; 3] = ["poolpick.toml", ".poolpick.toml", "pyproject.toml"];
/// What the root of a repository holds.
const REPOSITORIES: [&str; 3] = [".git", ".hg", ".jj"];
/// Others may write it.
const WORLD_WRITABLE: u32 = 0o002;
/// In such a directory others cannot replace a file.
const STICKY: u32 = 0o1000;

/// A manifest that is not trusted, because whoever wrote it chooses what is run.
#[derive(Debug, thiserror::Error)]
#[error("`{}` {why}, so its commands are not run; hint: {hint}", path.display())]
pub struct Refused {
    path: PathBuf,
    why: String,
    hint: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The manifest.
    pub file: Option<PathBuf>,
    /// Another in the same directory, which is not read.
    pub ignored: Option<PathBuf>,
    /// The highest directory that was looked into.
    pub up_to: PathBuf,
}

/// The root of the repository that `directory`, which is absolute, lies in.
pub fn repository(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|above| REPOSITORIES.iter().any(|name| above.join(name).exists()))
}

/// Looks for a manifest from `directory` on, which is absolute.
pub fn find(directory: &Path) -> Found {
    let up_to = repository(directory).unwrap_or(directory);
    for above in directory.ancestors() {
        let mut there = NAMES.iter().map(|name| above.join(name)).filter(|path| path.is_file() && is_ours(path));
        if let Some(file) = there.next() {
            return Found { file: Some(file), ignored: there.next(), up_to: up_to.to_owned() };
        }
        if above == up_to {
            break;
        }
    }
    Found { file: None, ignored: None, up_to: up_to.to_owned() }
}

/// A `pyproject.toml` without our table belongs to others.
fn is_ours(path: &Path) -> bool {
    if !is_pyproject(path) {
        return true;
    }
    // One that cannot be read or parsed is told where it says our name, and left alone otherwise.
    let mut bytes = Vec::new();
    if fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).is_err() {
        return false;
    }
    // One with our table that is not UTF-8 is ours, and refused when it is loaded.
    let text = String::from_utf8_lossy(&bytes);
    let [tool, own] = TOOL_TABLE;
    match text.parse::<toml_edit::DocumentMut>() {
        Ok(document) => document.get(tool).and_then(|tools| tools.get(own)).is_some(),
        Err(_) => text.contains(&TOOL_TABLE.join(".")),
    }
}

/// How a manifest was come by, that nobody named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// By looking for it.
    Found,
    /// Another one extends it: naming it would not help.
    Extended,
}

/// Refuses a file, or one in a directory, that somebody else may write or owns.
pub fn trusted(path: &Path, found: Reached) -> Result<(), Refused> {
    let refused = |why: &str, hint: &str| {
        let hint = match found {
            Reached::Found => format!("{hint}, or name it if you trust it: `--manifest {}`", path.display()),
            Reached::Extended => hint.to_owned(),
        };
        Refused { path: path.to_owned(), why: why.to_owned(), hint }
    };
    let owned = |metadata: &fs::Metadata| metadata.uid() == effective_uid() || metadata.uid() == 0;
    let file = fs::metadata(path);
    // Of a link, where it lies and where it leads.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directories = [path, &real].into_iter().filter_map(Path::parent).map(|parent| match parent.as_os_str().len() {
        0 => Path::new("."),
        _ => parent,
    });
    // What cannot be looked at cannot be read either, which is told then.
    if let Ok(file) = file {
        if !owned(&file) {
            return Err(refused(&format!("belongs to user {}", file.uid()), "copy it"));
        }
        if file.permissions().mode() & WORLD_WRITABLE != 0 {
            return Err(refused("can be written by everybody", &format!("`chmod o-w {}`", path.display())));
        }
    }
    for directory in directories.filter_map(|directory| fs::metadata(directory).ok()) {
        let mode = directory.permissions().mode();
        if mode & WORLD_WRITABLE != 0 && mode & STICKY == 0 {
            return Err(refused("lies in a directory that everybody can write", "`chmod o-w` its directory"));
        }
    }
    Ok(())
}
