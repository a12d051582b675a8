//! Which host, told from what stays the same over a reboot. Must not hold anything that names its owner.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The first core's lines are enough.
const MOST_READ: u64 = 64 << 10;

/// A host: when any of it changes, what was measured on it no longer holds. `None` could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostIdentity {
    /// Kernel release.
    pub kernel: Option<String>,
    /// The CPU's model.
    pub cpu_model: Option<String>,
    /// The list of online CPUs, such as `0-3`.
    pub cores: Option<String>,
    /// A checksum of the machine id, which itself is confidential.
    pub machine: Option<String>,
}

impl HostIdentity {
    /// Reads it below `root`, which is `/` outside tests.
    pub fn read(root: &Path) -> HostIdentity {
        let line = |path: &str| text(&root.join(path)).map(|text| text.trim().to_owned());
        let machine = line("etc/machine-id").or_else(|| line("var/lib/dbus/machine-id"));
        HostIdentity {
            kernel: line("proc/sys/kernel/osrelease"),
            cpu_model: text(&root.join("proc/cpuinfo")).and_then(|text| cpu_model(&text)),
            cores: line("sys/devices/system/cpu/online"),
            machine: machine.map(|id| format!("{:08x}", crc32fast::hash(id.as_bytes()))),
        }
    }
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST_READ).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// The name where the kernel knows one (x86, POWER), the codes that stand for it elsewhere (Arm, RISC-V).
fn cpu_model(text: &str) -> Option<String> {
    let value = |wanted: &str| {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        pairs.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == wanted).map(|(_, value)| value)
    };
    let name = value("model name").or_else(|| value("cpu")).map(str::to_owned);
    name.or_else(|| {
        let codes = ["CPU implementer", "CPU part", "CPU revision", "isa", "uarch"];
        let known: Vec<&str> = codes.into_iter().filter_map(value).collect();
        (!known.is_empty()).then(|| known.join(" "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn it_is_read_below_a_root_and_the_machine_id_is_hidden() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(HostIdentity::read(root.path()), HostIdentity::default());
        let files = [
            ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
            ("proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC 7B13\n\nprocessor\t: 1\nmodel name\t: other\n"),
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ];
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is ours");
            fs::write(path, text).expect("the folder is ours");
        }
        let host = HostIdentity::read(root.path());
        assert_eq!(host.kernel.as_deref(), Some("6.1.0-18-amd64"));
        assert_eq!(host.cpu_model.as_deref(), Some("AMD EPYC 7B13"));
        assert_eq!(host.cores.as_deref(), Some("0-1"));
        assert_eq!(host.machine.map(|machine| machine.len()), Some(8));
    }

    #[test]
    fn arm_has_codes_instead_of_a_name() {
        let text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\nCPU revision\t: 1\n";
        assert_eq!(cpu_model(text).as_deref(), Some("0x41 0xd0c 1"));
        assert_eq!(cpu_model("nonsense"), None);
    }
}
