//! Whether two paths name one file, however they are spelled: what a command reads is not to be replaced by what it writes.
//! Must not open anything.

use super::exit::Failure;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which file a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileIdentity {
    /// One that is there: its device and inode.
    There(u64, u64),
    /// One that is yet to be: its directory's path, resolved, with its name.
    ToBe(PathBuf),
}

impl FileIdentity {
    /// Of the file at `path`; links are followed.
    pub fn of(path: &Path) -> FileIdentity {
        if let Ok(metadata) = fs::metadata(path) {
            return FileIdentity::There(metadata.dev(), metadata.ino());
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match (fs::canonicalize(parent), path.file_name()) {
            (Ok(parent), Some(name)) => FileIdentity::ToBe(parent.join(name)),
            _ => FileIdentity::ToBe(path.to_owned()),
        }
    }
}

/// Refuses to write to a file that the command reads. Pipes and devices are no files in this sense.
///
/// # Errors
/// Names the output.
pub fn refuse_inputs<'a>(output: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    let is_file = fs::metadata(output).is_ok_and(|metadata| metadata.is_file());
    let identity = FileIdentity::of(output);
    if output != Path::new("-") && is_file && inputs.into_iter().any(|input| FileIdentity::of(input) == identity) {
        let message = format!(
            "`{}` is what this command reads, and would be overwritten; hint: write to another file",
            output.display()
        );
        return Err(Failure::Misuse(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_every_spelling_and_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "").expect("own folder");
        fs::write(at("b"), "").expect("own folder");
        fs::hard_link(at("a"), at("hard")).expect("own folder");
        std::os::unix::fs::symlink("a", at("soft")).expect("own folder");
        for other in ["hard", "soft", "./a"] {
            assert_eq!(FileIdentity::of(&at(other)), FileIdentity::of(&at("a")), "{other}");
            let refused = refuse_inputs(&at(other), [at("b").as_path(), at("a").as_path()]);
            assert!(refused.is_err_and(|failure| failure.to_string().contains(other)));
        }
        assert_ne!(FileIdentity::of(&at("b")), FileIdentity::of(&at("a")));
        assert_eq!(FileIdentity::of(&at("new")), FileIdentity::of(&at("./new")));
        assert!(refuse_inputs(&at("new"), [at("new").as_path()]).is_ok(), "there is nothing to overwrite");
        assert!(refuse_inputs(Path::new("/dev/null"), [Path::new("/dev/null")]).is_ok());
    }
}
