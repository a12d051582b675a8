//! What the agent's channel costs poolpick: making and removing its directory, and a round of reading it.

use divan::Bencher;
use poolpick::observe::agent::layout;
use poolpick::observe::agent::{Home, Moment, Reader};
use poolpick::units::Timestamp;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Records that come between two rounds.
const RECORDS: u64 = 200;
/// A record's kind: a task begins.
const BEGIN: u8 = 1;

fn main() {
    divan::main();
}

/// The directory, with a copy of the agent of its own or without.
#[divan::bench(args = [false, true])]
fn home(bencher: Bencher<'_, '_>, own_agent: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = Home::make_in(folder.path(), None).expect("a home");
    let agent = (!own_agent).then(|| kept.agent().to_owned());
    bencher.bench_local(|| Home::make_in(folder.path(), agent.clone()).expect("a home"));
}

/// A round over so many channels, all of them quiet.
#[divan::bench(args = [0, 1])]
fn quiet_round(bencher: Bencher<'_, '_>, channels: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut desk = Desk { reader: Reader::new(folder.path().to_owned()), now: 10_000 };
    for _ in 0..channels {
        channel(folder.path());
    }
    desk.round();
    bencher.bench_local(|| desk.round());
}

/// A round that finds new records.
#[divan::bench]
fn busy_round(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut desk = Desk { reader: Reader::new(folder.path().to_owned()), now: 10_000 };
    let file = channel(folder.path());
    desk.round();
    let mut sequence = 0;
    let more = || {
        for _ in 0..RECORDS {
            sequence += 1;
            file.write_all_at(&record(sequence), layout::place(sequence)).expect("it is written");
        }
        file.write_all_at(&sequence.to_le_bytes(), 40).expect("it is written");
    };
    bencher.with_inputs(more).bench_local_values(|()| desk.round());
}

struct Desk {
    reader: Reader,
    now: u64,
}

impl Desk {
    fn round(&mut self) -> usize {
        self.now += 100_000_000;
        let moment = Moment { now: Timestamp(self.now), open_from: Timestamp(0), last: false };
        let mut events = 0;
        self.reader.round(moment, &mut |_| true, &mut |_| events += 1);
        events
    }
}

/// This process's channel, with one byte that is not zero in each field of its header that must not be.
fn channel(folder: &std::path::Path) -> File {
    let pid = std::process::id();
    let path = folder.join(format!("{pid}.00000001"));
    fs::write(&path, vec![0; layout::FILE as usize]).expect("a file");
    let file = File::options().write(true).open(path).expect("the same file");
    let mut header = [0u8; 64];
    header[..8].copy_from_slice(b"PPAGENT1");
    header[8..12].copy_from_slice(&1u32.to_le_bytes());
    header[12..16].copy_from_slice(&pid.to_le_bytes());
    header[16..24].copy_from_slice(&1000u64.to_le_bytes());
    header[24..28].copy_from_slice(&0x030b_02f0_u32.to_le_bytes());
    file.write_all_at(&header, 0).expect("it is written");
    file
}

/// Its first and last words are its number; the rest is as docs/agent-channel.md lays it out.
fn record(sequence: u64) -> [u8; 48] {
    let mut bytes = [0u8; 48];
    bytes[..4].copy_from_slice(&(sequence as u32).to_le_bytes());
    bytes[4] = BEGIN;
    bytes[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    bytes[16..24].copy_from_slice(&(2000 + sequence).to_le_bytes());
    bytes[44..].copy_from_slice(&(sequence as u32).to_le_bytes());
    bytes
}
