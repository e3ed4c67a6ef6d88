//! A container as the kernel sees it: what its process may do and what it finds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::image::run;
use super::namespace::processes;

/// A process by its id in these namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Container(u32);

impl Container {
    /// All that run this program, by its path in the image.
    pub(crate) fn find(program: &str) -> Vec<Self> {
        let all = processes().map(Self);
        all.filter(|it| fs::read_link(it.file("exe")).is_ok_and(|path| path == Path::new(program)))
            .collect()
    }

    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    /// The name of its Pod.
    pub(crate) fn pod(self) -> String {
        let variables = fs::read(self.file("environ")).unwrap();
        let mut variables = variables.split(|byte| *byte == 0);
        let name = variables.find_map(|it| it.strip_prefix(b"HOSTNAME="));
        String::from_utf8(name.expect("its host has a name").to_vec()).unwrap()
    }

    /// Halts it.
    pub(crate) fn halt(self) {
        self.signal("STOP");
    }

    /// Ends it without a chance to do anything more.
    pub(crate) fn kill(self) {
        self.signal("KILL");
    }

    fn signal(self, name: &str) {
        run(Command::new("kill").args(["-s", name, &self.0.to_string()]));
    }

    /// Lets it go on, unless the kubelet has ended it meanwhile because it did not answer.
    pub(crate) fn go_on(self) {
        let mut kill = Command::new("kill");
        kill.args(["-s", "CONT", &self.0.to_string()]);
        kill.output().unwrap();
    }

    /// The fields of its status: `Uid`, `CapEff`, `VmRSS` and others.
    pub(crate) fn status(self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.file("status")).unwrap();
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect()
    }

    /// How many files, sockets and pipes it has open.
    pub(crate) fn descriptors(self) -> usize {
        fs::read_dir(self.file("fd")).unwrap().count()
    }

    /// How many TCP connections its Pod has.
    pub(crate) fn connections(self) -> usize {
        let tables = ["net/tcp", "net/tcp6"].map(|name| fs::read_to_string(self.file(name)));
        let lines = tables.iter().flatten().flat_map(|text| text.lines());
        // The fourth column is the state, 01 an established connection.
        lines
            .filter(|line| line.split_whitespace().nth(3) == Some("01"))
            .count()
    }

    /// The options of what is mounted at this place.
    pub(crate) fn mount_options(self, place: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file("mounts")).unwrap();
        let line = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mut at = line.filter(|words| words[1] == place);
        let found = at
            .next()
            .unwrap_or_else(|| panic!("nothing is mounted at {place}"));
        found[3].split(',').map(str::to_owned).collect()
    }

    /// All files of its root filesystem, without what is mounted over it.
    pub(crate) fn files(self) -> Vec<String> {
        let root = self.file("root");
        let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
        let mounts = fs::read_to_string(self.file("mounts")).unwrap();
        let mounted: Vec<&str> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .collect();
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(root.join(&folder)).unwrap().flatten() {
                let path = folder.join(entry.file_name());
                let place = format!("/{}", path.display());
                if mounted.contains(&place.as_str()) {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    open.push(path);
                } else {
                    found.push(place);
                }
            }
        }
        found.sort();
        found
    }
}
