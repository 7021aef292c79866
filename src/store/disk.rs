//! The disk under a directory: whether what it says is synced can be on it, and how much room there is.
//!
//! No program can prove from inside that a disk keeps its word; a power cut can. What can be known is what cannot be true:
//! a file system that lives in memory, a mount that was told not to flush, a sync that is over before any device could
//! have stored a byte, or before a disk that turns could have turned. That is called bad. What is merely suspicious is a
//! doubt, and says what to look at. What is judged is plain data, which the tests make up.

use std::fs::{File, read_to_string};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::finding::{Finding, Grade};

const BLOCK: usize = 4096;
/// Syncs that are measured, unless the time is over before.
const SYNCS: usize = 400;
const TIME: Duration = Duration::from_secs(3);

/// Below this nothing can have left the memory: the fastest devices there were take longer for the flush alone.
const IMPOSSIBLE_US: i64 = 15;
/// A disk that turns 15,000 times a minute needs 4 ms for one turn, and a sync of a file that grows writes in two places.
const TURN_US: i64 = 1500;
/// Faster than this, a device with a cache that forgets must have something that holds the power while it is emptied.
const HELD_US: i64 = 60;

const MEMORY: &[&str] = &["tmpfs", "ramfs", "rootfs", "devtmpfs"];
const NETWORK: &[&str] =
    &["nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs"];
const FOREIGN: &[&str] =
    &["9p", "virtiofs", "fuse", "fuseblk", "drvfs", "vboxsf", "prl_fs", "fuse.rclone", "fuse.s3fs"];
/// What tells a file system not to wait for the device, or not to keep anything.
const CARELESS: &[&str] = &["nobarrier", "barrier=0", "volatile", "nointegrity", "disable_ext_flush"];

/// What is known of the file system and the device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Medium {
    file_system: String,
    options: Vec<String>,
    /// Of the device, as the kernel sees it; none where there is no such device.
    rotating: Option<bool>,
    /// Whether it says that it forgets what it has not been told to flush.
    forgetful: Option<bool>,
    /// What a virtual machine says of its disk is its host's opinion.
    is_virtual: bool,
}

/// Microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Syncs {
    count: i64,
    median: i64,
    p99: i64,
    longest: i64,
}

/// The disk that a directory lies on, of which this looks and writes a file that it removes.
pub(super) fn examine(directory: &Path, used_bytes: u64) -> Vec<Finding> {
    let medium = medium(directory);
    let mut findings = vec![judge_medium(&medium)];
    findings.push(match measure(directory) {
        Ok(syncs) => judge_syncs(&medium, syncs),
        Err(error) => {
            Finding::new("disk.sync", Grade::Bad, format!("a file cannot be written and synced here: {error}"))
        }
    });
    findings.push(match rustix::fs::statvfs(directory) {
        Ok(room) => judge_room(
            room.f_bavail.saturating_mul(room.f_frsize),
            room.f_blocks.saturating_mul(room.f_frsize),
            used_bytes,
            (room.f_favail, room.f_files),
        ),
        Err(error) => Finding::new("disk.room", Grade::Unknown, format!("free space cannot be asked for: {error}")),
    });
    findings
}

fn judge_medium(medium: &Medium) -> Finding {
    let name = medium.file_system.as_str();
    let careless = medium.options.iter().find(|option| CARELESS.contains(&option.as_str()));
    let (grade, said) = if name.is_empty() {
        (Grade::Unknown, "which file system this is cannot be found out".to_owned())
    } else if MEMORY.contains(&name) {
        (Grade::Bad, format!("{name} lives in memory: everything is lost with the power"))
    } else if let Some(option) = careless {
        (Grade::Bad, format!("{name} is mounted with {option}: what was synced may be lost with the power"))
    } else if NETWORK.contains(&name) {
        (
            Grade::Bad,
            format!("{name} is a file system of the network: SQLite's locks and log do not work there; use a server"),
        )
    } else if FOREIGN.contains(&name) || name.starts_with("fuse") {
        (Grade::Doubt, format!("{name} passes to somebody else what is synced; whether that is kept is theirs to say"))
    } else if name == "overlay" {
        (
            Grade::Doubt,
            "overlay is a container's own layer: the data goes when the container does; mount a volume".to_owned(),
        )
    } else if name == "zfs" {
        (Grade::Unknown, "of zfs ask `zfs get sync`: with sync=disabled nothing is synced".to_owned())
    } else {
        (Grade::Good, format!("{name}, mounted so that a sync reaches the device"))
    };
    Finding::new("disk.file_system", grade, said)
}

fn judge_syncs(medium: &Medium, syncs: Syncs) -> Finding {
    let rate = 1_000_000 / syncs.median.max(1);
    let rotating = medium.rotating == Some(true);
    let (grade, said) = if syncs.median < IMPOSSIBLE_US {
        (Grade::Bad, "a sync is over before any device could have stored a byte: what it says is not so".to_owned())
    } else if rotating && syncs.median < TURN_US && !medium.is_virtual {
        let said = "a disk that turns cannot sync so often: its cache answers, which forgets without a battery";
        (Grade::Bad, said.to_owned())
    } else if medium.forgetful == Some(true) && syncs.median < HELD_US && !medium.is_virtual {
        let said =
            "a device with a cache that forgets is this fast only with power of its own; make sure that it has it";
        (Grade::Doubt, said.to_owned())
    } else if syncs.median > 50_000 {
        (Grade::Doubt, "syncs are slow: commits of many requests share one, but each waits for it".to_owned())
    } else if medium.is_virtual {
        (Grade::Good, "as fast as a device can be; what the host does with it only the host knows".to_owned())
    } else {
        (Grade::Good, "as fast as a device can be".to_owned())
    };
    Finding::new("disk.sync", grade, format!("{said} ({rate} per second)")).with([
        ("count", syncs.count),
        ("median_us", syncs.median),
        ("p99_us", syncs.p99),
        ("longest_us", syncs.longest),
    ])
}

fn judge_room(free: u64, all: u64, used: u64, (nodes_free, nodes): (u64, u64)) -> Finding {
    const MIB: u64 = 1 << 20;
    let share = free.saturating_mul(100) / all.max(1);
    // The log, and a copy of the whole while a backup or a migration is made.
    let wanted = (128 * MIB).max(used / 10);
    let (grade, said) = if free < 64 * MIB || (nodes > 0 && nodes_free < 16) {
        (Grade::Bad, "there is next to no room left")
    } else if free < wanted || share < 5 {
        (Grade::Doubt, "room is getting short")
    } else {
        (Grade::Good, "there is room")
    };
    Finding::new("disk.room", grade, said).with([
        ("free_mib", (free / MIB) as i64),
        ("free_percent", share as i64),
        ("store_mib", (used / MIB) as i64),
    ])
}

fn measure(directory: &Path) -> io::Result<Syncs> {
    let path = directory.join(format!("sync.{}", std::process::id()));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    let measured = timed(&mut file);
    std::fs::remove_file(&path)?;
    let mut times = measured?;
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    Ok(Syncs { count: times.len() as i64, median: at(50), p99: at(99), longest: at(100) })
}

/// Microseconds that each sync of another block took; at least one.
fn timed(file: &mut File) -> io::Result<Vec<i64>> {
    let begun = Instant::now();
    let mut times = Vec::with_capacity(SYNCS);
    while times.len() < SYNCS && (begun.elapsed() < TIME || times.is_empty()) {
        file.write_all(&[times.len() as u8; BLOCK])?;
        let before = Instant::now();
        file.sync_data()?;
        times.push(before.elapsed().as_micros() as i64);
    }
    Ok(times)
}

fn medium(directory: &Path) -> Medium {
    let Ok(directory) = directory.canonicalize() else { return Medium::default() };
    let mut medium = read_to_string("/proc/self/mountinfo").map(|text| mounted(&text, &directory)).unwrap_or_default();
    let Ok(metadata) = directory.metadata() else { return medium };
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let device = format!("/sys/dev/block/{major}:{minor}");
    // A partition has its queue with the disk.
    let queue = |name: &str| {
        let read = |folder: &str| read_to_string(format!("{device}/{folder}/{name}")).ok();
        read("queue").or_else(|| read("../queue")).map(|text| text.trim().to_owned())
    };
    medium.rotating = queue("rotational").map(|text| text == "1");
    medium.forgetful = queue("write_cache").map(|text| text == "write back");
    let place = Path::new(&device).canonicalize().unwrap_or_default();
    let place = place.to_string_lossy();
    medium.is_virtual = ["/virtio", "/vbd-", "/xen", "vmbus"].iter().any(|part| place.contains(part));
    medium
}

/// What the list of mounts (proc(5)) says of the one that a path lies on: the longest that it begins with, the last of
/// those that lie over each other.
fn mounted(list: &str, path: &Path) -> Medium {
    let mut found = Medium::default();
    let mut longest = 0;
    for line in list.lines() {
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = front.split(' ').collect();
        let mut kind = back.split(' ');
        let (Some(point), Some(own), Some(name)) = (fields.get(4), fields.get(5), kind.next()) else { continue };
        let point = point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
        if !path.starts_with(&point) || point.len() < longest {
            continue;
        }
        longest = point.len();
        let options = own.split(',').chain(kind.nth(1).unwrap_or_default().split(','));
        found =
            Medium { file_system: name.to_owned(), options: options.map(str::to_owned).collect(), ..Medium::default() };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /run rw,nosuid - tmpfs tmpfs rw,size=10%
31 22 0:40 / /mnt/a\\040b rw - xfs /dev/sdb1 rw,nobarrier
32 22 0:41 / /var/lib rw - overlay overlay rw,lowerdir=/x,volatile
33 22 0:42 / /var rw - nfs4 host:/x rw
34 33 0:43 / /var rw - btrfs /dev/sdc rw,ssd
";

    fn on(path: &str) -> Medium {
        mounted(MOUNTS, Path::new(path))
    }

    #[test]
    fn a_path_lies_on_the_nearest_mount_that_is_not_covered() {
        for (path, name, grade) in [
            ("/home/x", "ext4", Grade::Good),
            ("/run/x", "tmpfs", Grade::Bad),
            ("/runaway", "ext4", Grade::Good),
            ("/mnt/a b/data", "xfs", Grade::Bad),
            ("/var/lib/x", "overlay", Grade::Bad),
            ("/var/x", "btrfs", Grade::Good),
        ] {
            let medium = on(path);
            assert_eq!((medium.file_system.as_str(), judge_medium(&medium).grade), (name, grade), "{path}");
        }
        assert_eq!(judge_medium(&mounted("", Path::new("/x"))).grade, Grade::Unknown);
        for (name, grade) in
            [("nfs", Grade::Bad), ("fuse.x", Grade::Doubt), ("overlay", Grade::Doubt), ("zfs", Grade::Unknown)]
        {
            let medium = Medium { file_system: name.to_owned(), ..Medium::default() };
            assert_eq!(judge_medium(&medium).grade, grade, "{name}");
        }
    }

    #[test]
    fn syncs_that_no_device_can_do_are_told() {
        let medium = |rotating, forgetful, is_virtual| Medium {
            rotating: Some(rotating),
            forgetful: Some(forgetful),
            is_virtual,
            ..Medium::default()
        };
        for (medium, median, grade) in [
            (medium(false, false, false), 3, Grade::Bad),
            (medium(false, false, true), 3, Grade::Bad),
            (medium(false, false, false), 40, Grade::Good),
            (medium(false, true, false), 40, Grade::Doubt),
            (medium(false, true, false), 700, Grade::Good),
            (medium(true, true, false), 300, Grade::Bad),
            (medium(true, true, true), 300, Grade::Good),
            (medium(true, true, false), 9000, Grade::Good),
            (medium(true, true, false), 90_000, Grade::Doubt),
            (Medium::default(), 300, Grade::Good),
        ] {
            let syncs = Syncs { count: 100, median, p99: median, longest: median };
            assert_eq!(judge_syncs(&medium, syncs).grade, grade, "{median} {medium:?}");
        }
    }

    #[test]
    fn room_is_judged_by_what_lies_there() {
        const GIB: u64 = 1 << 30;
        for (free, all, used, nodes, grade) in [
            (100 * GIB, 200 * GIB, GIB, (100, 1000), Grade::Good),
            (100 * GIB, 200 * GIB, GIB, (0, 0), Grade::Good),
            (100 * GIB, 200 * GIB, GIB, (3, 1000), Grade::Bad),
            (GIB / 100, 200 * GIB, GIB, (100, 1000), Grade::Bad),
            (5 * GIB, 200 * GIB, GIB, (100, 1000), Grade::Doubt),
            (GIB, 10 * GIB, 11 * GIB, (100, 1000), Grade::Doubt),
        ] {
            assert_eq!(judge_room(free, all, used, nodes).grade, grade, "{free} of {all}");
        }
    }

    #[test]
    fn what_was_measured_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let syncs = measure(directory.path()).unwrap();
        assert!(syncs.count > 0 && syncs.median <= syncs.p99 && syncs.p99 <= syncs.longest);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(measure(&directory.path().join("none")).is_err());
    }
}
