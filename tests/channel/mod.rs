//! An agent's channel, drawn: a file's bytes as the agent writes them. For the tests that read such files.

#![allow(dead_code, reason = "each test file uses a part of it")]

use poolpick::observe::agent::Pages;
use poolpick::observe::agent::layout;
use poolpick::trace::Event;
use std::io;

/// A process that no kernel has: beyond its limit, or not given out yet.
pub const PID: u32 = 4_194_000;

/// A file as the agent writes it.
pub struct Image {
    pub bytes: Vec<u8>,
    pub sequence: u64,
    pub definitions: usize,
}

impl Image {
    pub fn of(pid: u32) -> Image {
        let mut image = Image { bytes: vec![0; layout::FILE as usize], sequence: 0, definitions: 0 };
        image.put(0, b"PPAGENT1");
        image.put(8, &1u32.to_le_bytes());
        image.put(12, &pid.to_le_bytes());
        image.put(16, &1000u64.to_le_bytes());
        image.put(24, &0x030b_02f0_u32.to_le_bytes());
        image.put(28, &2u32.to_le_bytes());
        image
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn define(&mut self, kind: u16, body: &[u8]) {
        let mut bytes = [kind.to_le_bytes(), [0; 2]].concat();
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.put(layout::DEFINITIONS as usize + self.definitions, &bytes);
        self.definitions += bytes.len();
        self.put(32, &(self.definitions as u32).to_le_bytes());
    }

    pub fn stage(&mut self, stage: u16, name: &str) {
        self.define(1, &stage_body(stage, name));
        self.put(36, &(u32::from(stage) + 1).to_le_bytes());
    }

    pub fn record(&mut self, record: Record) {
        self.sequence += 1;
        let at = layout::place(self.sequence) as usize;
        self.put(at, &record.bytes(self.sequence));
        self.put(40, &self.sequence.to_le_bytes());
    }

    pub fn slot(&mut self, stage: usize, words: [u64; 16]) {
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        self.put(layout::SLOTS as usize + stage * layout::SLOT, &bytes);
    }
}

impl Pages for Image {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.as_slice().read_at(into, offset)
    }
}

/// A length and the letters.
pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}

/// What a stage is defined by.
pub fn stage_body(stage: u16, name: &str) -> Vec<u8> {
    let mut body = stage.to_le_bytes().to_vec();
    body.extend([0, 3]);
    body.extend(4u32.to_le_bytes());
    body.extend(17u32.to_le_bytes());
    for word in [name, "etl", "/etl.py", "concurrent.futures.ProcessPoolExecutor", "spawn"] {
        body.extend(text(word));
    }
    body
}

/// A record as the agent writes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Record {
    pub kind: u8,
    pub flags: u8,
    pub stage: u16,
    pub tid: u32,
    pub x: u32,
    pub at: u64,
    pub a: u64,
    pub b: u64,
    pub y: u32,
}

impl Record {
    pub fn begin(at: u64) -> Record {
        Record { kind: 1, tid: 7, at, ..Record::default() }
    }

    pub fn bytes(self, sequence: u64) -> Vec<u8> {
        let number = (sequence as u32).to_le_bytes();
        let mut bytes = number.to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stage.to_le_bytes());
        bytes.extend(self.tid.to_le_bytes());
        bytes.extend(self.x.to_le_bytes());
        for long in [self.at, self.a, self.b] {
            bytes.extend(long.to_le_bytes());
        }
        bytes.extend(self.y.to_le_bytes());
        bytes.extend(number);
        assert_eq!(bytes.len(), layout::RECORD);
        bytes
    }
}

/// Late enough for everything here.
pub const NOW: u64 = 1 << 40;

/// When tasks began.
pub fn begins(events: &[Event]) -> Vec<u64> {
    let begin = |event: &Event| matches!(event, Event::TaskBegin { .. }).then(|| event.at().0);
    events.iter().filter_map(begin).collect()
}
