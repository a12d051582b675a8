//! Models between runs: one small JSON file a kind, host and interpreter. Must not make a run fail, whatever the
//! file or its folder is like, and must not believe a file that was made elsewhere.

use super::{CostModel, DispatchModel, HostIdentity, InterpreterIdentity, Median, NoPickle};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const MOST_BYTES: u64 = 64 << 10;
/// Kernels and libraries change underneath.
const STALE_SECONDS: u64 = 30 * 24 * 3600;
/// What a busy machine gave is better than nothing for a while.
const NOISY_STALE_SECONDS: u64 = 3600;

/// What a model is made for, which decides whether it still holds.
pub(super) struct Origin<'a> {
    pub host: &'a HostIdentity,
    pub interpreter: Option<&'a InterpreterIdentity>,
    pub measured_at_unix_seconds: u64,
}

/// A model that can be kept between runs.
pub(super) trait Kept: Serialize + DeserializeOwned {
    /// The first part of its file's name.
    const NAME: &'static str;
    /// What its file looks like; another number is measured anew.
    const FORMAT: u32;
    fn origin(&self) -> Origin<'_>;
    /// Whether the machine was not quiet when it was measured.
    fn noisy(&self) -> bool;
    /// Whether its figures can be true: a file may hold anything.
    fn plausible(&self) -> bool;
    /// A failure is not: it may be gone next time.
    fn worth_keeping(&self) -> bool;
}

impl Kept for CostModel {
    const NAME: &'static str = "calibration";
    const FORMAT: u32 = 1;

    fn origin(&self) -> Origin<'_> {
        let CostModel { host, interpreter, measured_at_unix_seconds, .. } = self;
        Origin { host, interpreter: interpreter.as_ref(), measured_at_unix_seconds: *measured_at_unix_seconds }
    }

    fn noisy(&self) -> bool {
        CostModel::noisy(self)
    }

    fn plausible(&self) -> bool {
        self.medians().all(Median::plausible)
    }

    fn worth_keeping(&self) -> bool {
        self.pipe.is_ok() && !matches!(self.pickle, Err(NoPickle::Failed(_)))
    }
}

impl Kept for DispatchModel {
    const NAME: &'static str = "dispatch";
    const FORMAT: u32 = 2;

    fn origin(&self) -> Origin<'_> {
        let DispatchModel { host, interpreter, measured_at_unix_seconds, .. } = self;
        Origin { host, interpreter: interpreter.as_ref(), measured_at_unix_seconds: *measured_at_unix_seconds }
    }

    fn noisy(&self) -> bool {
        DispatchModel::noisy(self)
    }

    fn plausible(&self) -> bool {
        self.cost.as_ref().is_ok_and(super::DispatchCost::plausible)
    }

    fn worth_keeping(&self) -> bool {
        self.cost.is_ok()
    }
}

#[derive(Serialize, Deserialize)]
struct Cached<M> {
    format: u32,
    model: M,
}

/// Keeps a model for later runs in `cache_dir`, or where the user's caches are; gives the file.
pub fn store(model: &CostModel, cache_dir: Option<PathBuf>) -> io::Result<PathBuf> {
    keep(model, cache_dir)
}

/// As `store`, for any model.
pub(super) fn keep<M: Kept>(model: &M, cache_dir: Option<PathBuf>) -> io::Result<PathBuf> {
    let file = file_of(model, cache_dir);
    let file = file.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no `HOME` and no `XDG_CACHE_HOME`"))?;
    write(&file, model)?;
    Ok(file)
}

/// Where a model is kept.
pub(super) fn file_of<M: Kept>(model: &M, cache_dir: Option<PathBuf>) -> Option<PathBuf> {
    let Origin { host, interpreter, .. } = model.origin();
    Some(slot::<M>(&cache_dir.or_else(default_folder)?, host, interpreter))
}

/// The cached model, or what `measure` gives, which is then cached.
pub(super) fn load_or<M: Kept>(
    cache_dir: Option<PathBuf>,
    host: HostIdentity,
    interpreter: Result<InterpreterIdentity, NoPickle>,
    now: u64,
    measure: impl FnOnce(HostIdentity, Result<InterpreterIdentity, NoPickle>) -> M,
) -> M {
    load(cache_dir.clone(), &host, interpreter.as_ref(), now).unwrap_or_else(|| {
        let model = measure(host, interpreter);
        if model.worth_keeping() {
            // A cache that cannot be written costs the next run a measurement, not this one its result.
            let _ = keep(&model, cache_dir);
        }
        model
    })
}

/// The cached model, if it still holds.
pub(super) fn load<M: Kept>(
    cache_dir: Option<PathBuf>,
    host: &HostIdentity,
    interpreter: Result<&InterpreterIdentity, &NoPickle>,
    now: u64,
) -> Option<M> {
    let folder = cache_dir.or_else(default_folder)?;
    let holds = |model: &M| {
        let origin = model.origin();
        origin.host == host && origin.interpreter == interpreter.ok() && fresh(model, now)
    };
    // An interpreter that failed may do better next time: nothing cached holds for it.
    let failed = matches!(interpreter, Err(NoPickle::Failed(_)));
    read(&slot::<M>(&folder, host, interpreter.ok())).filter(|model| !failed && holds(model))
}

fn default_folder() -> Option<PathBuf> {
    folder_of(std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from), std::env::home_dir())
}

/// The XDG rule: a relative path does not count.
fn folder_of(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let caches = xdg.filter(absolute).or_else(|| home.filter(absolute).map(|home| home.join(".cache")));
    caches.map(|caches| caches.join("poolpick"))
}

/// One file a machine and interpreter path; what else identifies them is compared with what the file holds, so that a
/// new kernel or interpreter replaces the file of the old one.
fn slot<M: Kept>(folder: &Path, host: &HostIdentity, interpreter: Option<&InterpreterIdentity>) -> PathBuf {
    let machine = host.machine.as_deref().unwrap_or_default();
    let path = interpreter.map_or("", |interpreter| &interpreter.path);
    let name = crc32fast::hash(format!("{machine}\0{path}").as_bytes());
    folder.join(format!("{}-{name:08x}.json", M::NAME))
}

fn fresh<M: Kept>(model: &M, now: u64) -> bool {
    let limit = if model.noisy() { NOISY_STALE_SECONDS } else { STALE_SECONDS };
    now.checked_sub(model.origin().measured_at_unix_seconds).is_some_and(|age| age <= limit)
}

fn read<M: Kept>(file: &Path) -> Option<M> {
    // A pipe in its place would never end.
    if !fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(file).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    let cached: Cached<M> = serde_json::from_str(&text).ok()?;
    (cached.format == M::FORMAT && cached.model.plausible()).then_some(cached.model)
}

fn write<M: Kept>(file: &Path, model: &M) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut beside = tempfile::Builder::new().prefix(".calibration-").tempfile_in(folder)?;
    serde_json::to_writer(&mut beside, &Cached { format: M::FORMAT, model })?;
    beside.write_all(b"\n")?;
    beside.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::{NoPipe, PipeCost};
    use std::cell::Cell;

    const NOW: u64 = 2_000_000_000;

    fn host() -> HostIdentity {
        HostIdentity { kernel: Some("6.1.0".into()), machine: Some("01234567".into()), ..HostIdentity::default() }
    }

    fn interpreter() -> InterpreterIdentity {
        InterpreterIdentity {
            path: "/usr/bin/python3".into(),
            modified_unix_seconds: 1,
            modified_nanos: 2,
            size_bytes: 3,
        }
    }

    fn model(seconds_per_byte: f64) -> CostModel {
        let median = |value| Median { value, deviation: 0.0 };
        CostModel {
            pipe: Ok(PipeCost { seconds_per_byte: median(seconds_per_byte), seconds_per_message: median(5e-6) }),
            pickle: Err(NoPickle::NoInterpreter),
            measured_at_unix_seconds: NOW,
            host: host(),
            interpreter: Some(interpreter()),
        }
    }

    /// Whether a run on this host, with this interpreter, at this time, measures anew.
    fn measures(folder: &Path, host: HostIdentity, interpreter: InterpreterIdentity, now: u64) -> bool {
        let measured = Cell::new(false);
        load_or(Some(folder.to_owned()), host, Ok(interpreter), now, |host, interpreter| {
            measured.set(true);
            CostModel { host, interpreter: interpreter.ok(), measured_at_unix_seconds: now, ..model(2e-9) }
        });
        measured.get()
    }

    fn stored(model: &CostModel) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = store(model, Some(folder.path().join("new/poolpick"))).expect("the folder is ours");
        assert_eq!(read::<CostModel>(&file).as_ref(), Some(model));
        let folder_of_file = file.parent().expect("it has one").to_owned();
        assert_eq!(fs::read_dir(&folder_of_file).expect("it is there").count(), 1, "no temporary is left");
        (folder, folder_of_file)
    }

    #[test]
    fn what_was_measured_is_measured_once() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(measures(folder.path(), host(), interpreter(), NOW));
        assert!(!measures(folder.path(), host(), interpreter(), NOW));
    }

    #[test]
    fn another_host_or_interpreter_is_measured_anew() {
        let kernel = HostIdentity { kernel: Some("6.2.0".into()), ..host() };
        let cores = HostIdentity { cores: Some("0-7".into()), ..host() };
        let written = InterpreterIdentity { modified_nanos: 9, ..interpreter() };
        let other = InterpreterIdentity { path: "/opt/python3".into(), ..interpreter() };
        let cases = [(kernel, interpreter()), (cores, interpreter()), (host(), written), (host(), other)];
        for (host, interpreter) in cases {
            let (_guard, folder) = stored(&model(1e-9));
            assert!(measures(&folder, host.clone(), interpreter.clone(), NOW), "{host:?} {interpreter:?}");
            assert!(!measures(&folder, host, interpreter, NOW));
        }
    }

    #[test]
    fn age_noise_and_the_future_make_it_stale() {
        let (_guard, folder) = stored(&model(1e-9));
        assert!(!measures(&folder, host(), interpreter(), NOW + STALE_SECONDS));
        assert!(measures(&folder, host(), interpreter(), NOW + STALE_SECONDS + 1));
        let (_guard, folder) = stored(&model(1e-9));
        assert!(measures(&folder, host(), interpreter(), NOW - 1), "it was measured in the future");
        let mut noisy = model(1e-9);
        noisy.pipe.as_mut().expect("it is there").seconds_per_byte.deviation = 1e-9;
        let (_guard, folder) = stored(&noisy);
        assert!(!measures(&folder, host(), interpreter(), NOW + NOISY_STALE_SECONDS));
        assert!(measures(&folder, host(), interpreter(), NOW + NOISY_STALE_SECONDS + 1));
    }

    #[test]
    fn a_corrupt_or_foreign_file_is_measured_anew() {
        let good =
            serde_json::to_string(&Cached { format: CostModel::FORMAT, model: model(1e-9) }).expect("it is plain data");
        let foreign = good.replace("\"format\":1", "\"format\":2");
        let implausible = good.replace("1e-9", "-1.0");
        let long = " ".repeat(1 << 20) + &good;
        assert!(foreign != good && implausible != good);
        for text in ["", "\0\u{7f}garbage", "{}", "[]", &good[..good.len() / 2], &foreign, &implausible, &long] {
            let (_guard, folder) = stored(&model(1e-9));
            fs::write(slot::<CostModel>(&folder, &host(), Some(&interpreter())), text).expect("the file is ours");
            assert!(measures(&folder, host(), interpreter(), NOW), "{text:.40}");
            assert!(!measures(&folder, host(), interpreter(), NOW), "it is repaired");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_used_only_costs_a_measurement() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("the folder is ours");
        assert!(measures(&file.join("below"), host(), interpreter(), NOW));
        assert!(measures(Path::new("/proc/nonexistent"), host(), interpreter(), NOW));
        let slot = slot::<CostModel>(folder.path(), &host(), Some(&interpreter()));
        fs::create_dir(slot).expect("the folder is ours");
        assert!(measures(folder.path(), host(), interpreter(), NOW));
    }

    #[test]
    fn a_failure_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let failures = [
            CostModel { pickle: Err(NoPickle::Failed("time-out".into())), ..model(1e-9) },
            CostModel { pipe: Err(NoPipe("no descriptors".into())), ..model(1e-9) },
        ];
        for failure in failures {
            let wanted = failure.clone();
            load_or(Some(folder.path().to_owned()), host(), Ok(interpreter()), NOW, |_, _| failure);
            assert!(measures(folder.path(), host(), interpreter(), NOW), "{wanted:?}");
            fs::remove_file(slot::<CostModel>(folder.path(), &host(), Some(&interpreter()))).expect("it is there now");
        }
    }

    #[test]
    fn the_users_caches_are_where_xdg_says() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(folder_of(path("/x"), path("/home/a")), path("/x/poolpick"));
        assert_eq!(folder_of(path("relative"), path("/home/a")), path("/home/a/.cache/poolpick"));
        assert_eq!(folder_of(None, path("")), None);
        assert_eq!(folder_of(None, None), None);
    }
}
