//! The memory that is available to this process.

/// Returns the memory in bytes that this process can allocate without being killed or swapped out: that of the system,
/// and that of the control groups that it is in. Returns `None` where that is unknown.
#[cfg(target_os = "linux")]
pub(super) fn available() -> Option<u64> {
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| linux::of_system(&text));
    let own = std::fs::read_to_string("/proc/self/cgroup").ok();
    let group = own.and_then(|own| linux::of_groups(std::path::Path::new("/sys/fs/cgroup"), &own));
    system.into_iter().chain(group).min()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn available() -> Option<u64> {
    None
}

#[cfg(any(target_os = "linux", test))]
mod linux {
    use std::{fs, path::Path};

    /// Parses `/proc/meminfo`.
    pub(super) fn of_system(meminfo: &str) -> Option<u64> {
        let kib: u64 = field(meminfo, "MemAvailable:")?;
        Some(kib << 10)
    }

    /// Returns what is left of the limits of a control group (version 2) and the groups that contain it; `None` if none
    /// has a limit. `own` is the content of `/proc/self/cgroup`.
    pub(super) fn of_groups(root: &Path, own: &str) -> Option<u64> {
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let group = root.join(path);
        group.ancestors().take_while(|group| group.starts_with(root)).filter_map(left_of_group).min()
    }

    fn left_of_group(group: &Path) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(group.join(name)).ok();
        // `max` means that there is no limit.
        let limit: u64 = read("memory.max")?.trim().parse().ok()?;
        let used: u64 = read("memory.current")?.trim().parse().ok()?;
        let stat = read("memory.stat").unwrap_or_default();
        // The kernel drops cached files when their memory is needed. A group that has read large files, such as
        // snapshots, would seem full without this.
        let cached = ["inactive_file", "active_file"].iter().filter_map(|name| field(&stat, name)).sum();
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    }

    /// Returns the number after a name at the start of a line.
    fn field(text: &str, name: &str) -> Option<u64> {
        let mut lines = text.lines().map(str::split_ascii_whitespace);
        lines.find_map(|mut words| (words.next()? == name).then(|| words.next()?.parse().ok())?)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn memory_of_the_system() {
            let text = "MemTotal:       16384000 kB\nMemFree:          100 kB\nMemAvailable:       2048 kB\n";
            assert_eq!(of_system(text), Some(2 << 20));
            assert_eq!(of_system("MemTotal: 5 kB\n"), None);
        }

        #[test]
        fn the_smallest_limit_of_all_control_groups_counts() {
            let root = tempfile::tempdir().unwrap();
            let write = |group: &str, files: &[(&str, &str)]| {
                let group = root.path().join(group);
                fs::create_dir_all(&group).unwrap();
                files.iter().for_each(|(name, text)| fs::write(group.join(name), text).unwrap());
            };
            let of = |own: &str| of_groups(root.path(), own);
            write("a/b", &[("memory.max", "max\n"), ("memory.current", "500\n")]);
            assert_eq!(of("0::/a/b\n"), None);
            write("a", &[("memory.max", "1000\n"), ("memory.current", "900\n")]);
            assert_eq!((of("1:cpu:/\n0::/a/b\n"), of("0::/\n"), of("")), (Some(100), None, None));
            write("a/b", &[("memory.max", "600\n"), ("memory.stat", "anon 440\ninactive_file 50\nactive_file 10\n")]);
            assert_eq!(of("0::/a/b\n"), Some(100));
            write("a/b", &[("memory.current", "650\n")]);
            assert_eq!(of("0::/a/b\n"), Some(10));
            // In a namespace of its own, a process sees its group as the root.
            write("", &[("memory.max", "70\n"), ("memory.current", "80\n")]);
            assert_eq!((of("0::/\n"), of("0::/a/b\n")), (Some(0), Some(0)));
        }
    }
}
