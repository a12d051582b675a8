//! The directory of agents' channels, read as hostile: links, pipes, junk, too many files, processes that are gone. Files
//! are written here; must not run poolpick or the agent.

mod channel;

use channel::{Image, PID, Record, begins};
use poolpick::observe::agent::{Home, Moment, Reader, layout};
use poolpick::trace::Event;
use poolpick::units::Timestamp;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with a reader on it.
struct Desk {
    folder: tempfile::TempDir,
    reader: Reader,
    now: u64,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::new(folder.path().to_owned());
        Desk { folder, reader, now: 10_000 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn round(&mut self) -> Vec<Event> {
        // As much later as every look that is due.
        self.now += 100_000_000;
        let mut events = Vec::new();
        let moment = Moment { now: Timestamp(self.now), open_from: Timestamp(0), last: false };
        let own = std::process::id();
        self.reader.round(moment, &mut |pid| pid == own, &mut |event| events.push(event));
        events
    }

    fn finish(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let moment = Moment { now: Timestamp(self.now), open_from: Timestamp(0), last: true };
        let own = std::process::id();
        self.reader.finish(moment, &mut |pid| pid == own, &mut |event| events.push(event));
        events
    }

    fn left(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count()
    }
}

#[test]
fn what_is_no_channel_is_never_read() {
    let mut desk = Desk::new();
    let own = std::process::id();
    let channel = Image::of(own).bytes;
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("file"), &channel).unwrap();
    symlink(elsewhere.path().join("file"), desk.path(&format!("{own}.00000001"))).unwrap();
    let fifo = Command::new("mkfifo").arg(desk.path(&format!("{own}.00000002"))).status().unwrap();
    assert!(fifo.success());
    fs::create_dir(desk.path(&format!("{own}.00000003"))).unwrap();
    fs::write(desk.path(&format!("{own}.00000004")), &channel[..1000]).unwrap();
    fs::write(desk.path(&format!("{own}.00000005")), [&channel[..], b"more"].concat()).unwrap();
    // Process 1 lives and is not the target's; a file that says other than its name.
    fs::write(desk.path("1.00000006"), Image::of(1).bytes).unwrap();
    fs::write(desk.path(&format!("{own}.00000007")), Image::of(own + 1).bytes).unwrap();
    fs::write(desk.path("notes.txt"), &channel).unwrap();
    fs::write(desk.path(&format!("{PID}.00000008")), b"its process died early").unwrap();
    std::os::unix::fs::symlink("/dev/zero", desk.path(&format!("{own}.00000009"))).unwrap();
    for _ in 0..3 {
        assert_eq!(desk.round(), []);
    }
    assert_eq!(desk.reader.open(), 0);
    assert!(desk.reader.presence().rejected >= 6 && desk.reader.presence().channels == 0);
    assert!(elsewhere.path().join("file").exists() && desk.path("notes.txt").exists(), "only entries are removed");
    // What was not ready may become so.
    fs::write(desk.path(&format!("{own}.00000004")), &channel).unwrap();
    assert_eq!(desk.round().len(), 1);
    assert_eq!((desk.reader.open(), desk.reader.presence().channels), (1, 1));
}

#[test]
fn a_file_that_shrinks_is_let_go() {
    let mut desk = Desk::new();
    let own = std::process::id();
    let path = desk.path(&format!("{own}.0000000a"));
    fs::write(&path, Image::of(own).bytes).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(desk.round().len(), 1);
    assert!(!path.exists(), "its name is gone as soon as it is open");
    file.set_len(20).unwrap();
    assert_eq!(desk.round(), []);
    assert_eq!(desk.reader.open(), 0);
}

#[test]
fn a_process_that_is_gone_is_read_to_its_end_and_let_go() {
    let mut desk = Desk::new();
    // No process has this id: it is beyond the kernel's limit, or was not given out yet.
    let mut image = Image::of(PID);
    image.stage(0, "etl.parse");
    image.record(Record::begin(2000));
    image.slot(0, [1; 16]);
    fs::write(desk.path(&format!("{PID}.0000000b")), &image.bytes).unwrap();
    let events = desk.round();
    assert_eq!(begins(&events), [2000]);
    desk.round();
    assert_eq!((desk.reader.open(), desk.left()), (0, 0));
    assert!(desk.reader.presence().processes.contains(&PID));
}

#[test]
fn a_second_file_of_a_process_ends_the_first() {
    let mut desk = Desk::new();
    let own = std::process::id();
    let mut image = Image::of(own);
    let path = desk.path(&format!("{own}.0000000c"));
    fs::write(&path, &image.bytes).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(desk.round().len(), 1);
    // Written last by the program that execs, before the next one's file is found.
    image.record(Record::begin(3000));
    image.slot(0, [1; 16]);
    file.write_all_at(&image.bytes, 0).unwrap();
    let mut next = Image::of(own);
    next.put(16, &4000u64.to_le_bytes());
    fs::write(desk.path(&format!("{own}.0000000d")), next.bytes).unwrap();
    let events = desk.round();
    assert_eq!(begins(&events), [3000]);
    // Its sums are of now, but have their place before the next agent began.
    let latest = events.iter().map(Event::at).max();
    assert_eq!(latest, Some(Timestamp(4000)), "{events:?}");
    assert_eq!((desk.reader.open(), desk.reader.presence().channels), (1, 2));
    assert_eq!(desk.reader.presence().processes.len(), 1);
}

#[test]
fn ten_thousand_files_are_read_a_few_at_a_time() {
    let mut desk = Desk::new();
    let junk = 9_000;
    (0..junk).for_each(|index| fs::write(desk.path(&format!("{PID}.{index:08x}")), b"junk").unwrap());
    let images: Vec<u32> = (0..600).map(|index| PID + 1 + index).collect();
    for &pid in &images {
        let file = fs::File::create(desk.path(&format!("{pid}.00000000"))).unwrap();
        file.write_all_at(&Image::of(pid).bytes[..64], 0).unwrap();
        file.set_len(layout::FILE).unwrap();
    }
    (0..400).for_each(|index| fs::write(desk.path(&format!("x{index}")), b"junk").unwrap());
    let mut seen = 0;
    for _ in 0..20 {
        seen += desk.round().len();
        assert!(desk.reader.open() <= 256);
    }
    seen += desk.finish().len();
    assert_eq!(seen, 600, "each began once");
    assert_eq!(desk.left(), 400, "what has no channel's name is not looked at");
    assert_eq!((desk.reader.presence().channels, desk.reader.presence().rejected), (600, junk));
}

#[test]
fn a_home_goes_away_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::make_in(folder.path(), None).unwrap();
    fs::create_dir_all(home.channel().join("a/b/c")).unwrap();
    symlink("/", home.channel().join("root")).unwrap();
    drop(home);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(Path::new("/etc").exists());
}
