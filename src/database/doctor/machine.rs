//! This build, and the machine that it runs on, as far as it can be read.

use std::fs;
use std::path::Path;

use super::DoctorPart;
use crate::segment::search::Isa;

/// The features of the crate, and whether they are on.
const FEATURES: [(&str, bool); 5] = [
    ("text", cfg!(feature = "text")),
    ("parquet", cfg!(feature = "parquet")),
    ("cli", cfg!(feature = "cli")),
    ("tracing", cfg!(feature = "tracing")),
    ("testing", cfg!(feature = "testing")),
];

pub(super) fn part() -> DoctorPart {
    let mut part = DoctorPart::new(concat!("nearfield ", env!("CARGO_PKG_VERSION")));
    let features: Vec<&str> =
        FEATURES.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    part.tell("features", if features.is_empty() { "none".into() } else { features.join(" ") });
    part.tell("build", format!("{build}, {}", std::env::consts::ARCH));
    let tiers: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
    let forced = match std::env::var_os("NEARFIELD_ISA") {
        Some(_) => ", NEARFIELD_ISA is set",
        None => "",
    };
    part.tell("instructions", format!("{} of {}{forced}", Isa::detect().name(), tiers.join(" ")));
    let threads = std::thread::available_parallelism();
    part.tell("threads", threads.map_or_else(|_| "not known".into(), |many| many.to_string()));
    let release = first_line("/proc/sys/kernel/osrelease");
    part.tell("system", format!("{} {release}", std::env::consts::OS));
    part.tell("memory", memory());
    part
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Of the machine, and what control groups leave of it.
fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
    };
    let Some(all) = of("MemTotal") else { return "not known".into() };
    let free = of("MemAvailable").map_or_else(String::new, |free| format!(", {free} available"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limits(&groups).filter_map(|file| first_line(&file).parse::<u64>().ok());
    // The first version of control groups says that there is none by a number beyond all memory.
    let limit = match limits.min().filter(|limit| *limit < 1 << 60) {
        Some(limit) => format!(", at most {limit} bytes of it for this process"),
        None => String::new(),
    };
    format!("{all}{free}{limit}")
}

/// Files that limit the memory of a process in these control groups: those of its own and of all around them.
fn limits(groups: &str) -> impl Iterator<Item = String> {
    let files = |line: &str| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let within = |group: &Path| {
            Path::new(root)
                .join(group.strip_prefix("/").ok()?)
                .join(file)
                .to_str()
                .map(ToOwned::to_owned)
        };
        Some(Path::new(group).ancestors().filter_map(within).collect::<Vec<_>>())
    };
    groups.lines().filter_map(files).flatten()
}

/// The kind of file system that `path` is on.
pub(super) fn file_system(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let kind = fs::canonicalize(path).ok().and_then(|path| kind(&mounts, &path));
    kind.unwrap_or_else(|| "not known".into())
}

/// The same by a list of mounts: of those above `path` the innermost, and of several on one place the last.
fn kind(mounts: &str, path: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (mount, rest) = line.split_once(" - ")?;
        let at = mount.split(' ').nth(4)?.replace("\\040", " ");
        path.starts_with(&at)
            .then(|| (at.len(), rest.split(' ').next().unwrap_or_default().to_owned()))
    };
    mounts.lines().filter_map(mount).max_by_key(|(len, _)| *len).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_above_a_path_says_its_file_system() {
        let mounts = "22 1 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 rw\n\
                      23 22 0:5 / /data rw - tmpfs tmpfs rw\n\
                      24 22 0:6 / /data\\040base rw master:2 - xfs /dev/sdb rw\n\
                      25 22 0:7 / /data rw - btrfs /dev/sdc rw\nnonsense\n";
        for (path, expected) in
            [("/database/my.nf", "ext4"), ("/data/my.nf", "btrfs"), ("/data base/my.nf", "xfs")]
        {
            assert_eq!(kind(mounts, Path::new(path)).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(kind("", Path::new("/data")), None);
    }

    #[test]
    fn memory_is_limited_by_a_control_group_and_by_those_around_it() {
        let files = |groups: &str| limits(groups).collect::<Vec<_>>();
        assert_eq!(
            files("0::/system.slice/my.service\n"),
            [
                "/sys/fs/cgroup/system.slice/my.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        let first = "5:cpu,cpuacct:/a\n4:memory:/b\n1:name=systemd:/c\nnonsense\n";
        assert_eq!(
            files(first),
            [
                "/sys/fs/cgroup/memory/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
    }

    #[test]
    fn this_build_and_machine_are_told() {
        let part = part();
        let names: Vec<&str> = part.facts.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["features", "build", "instructions", "threads", "system", "memory"]);
        assert!(part.facts[0].1.contains("testing") && part.facts[2].1.contains("scalar"));
    }
}
