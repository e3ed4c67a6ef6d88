//! Access entries and the authentication mode as the authenticator reads them: two files that it watches.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use identity_mapper::observed::Mode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::power::{Door, InForce};

/// The name of the file of access entries.
pub(super) const ENTRIES: &str = "entries.json";
/// The name of the file of the mode.
pub(super) const MODE: &str = "mode.json";

/// Both files.
pub(super) struct Files {
    entries: Watched,
    mode: Watched,
}

/// A file that is changed in place, by one write: the authenticator reads it whenever it is written to, and loses a second over one
/// that is replaced. It stays open, so that a change after its folder is gone harms nobody.
struct Watched(Mutex<Written>);

struct Written {
    file: File,
    content: Value,
    length: usize,
    when: Instant,
}

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            entries: Watched::new(&folder.join(ENTRIES)),
            mode: Watched::new(&folder.join(MODE)),
        }
    }

    /// When the mode was last written: from then on the authenticator builds its chain of backends anew.
    pub(super) fn mode_written(&self) -> Instant {
        self.mode.0.lock().expect("nobody panics with it").when
    }

    /// Writes what counts now, where it differs.
    pub(super) fn publish(&self, door: &Door) {
        let of_kind = |key: &str, kind: &str| {
            let entries = door
                .entries()
                .filter(|entry| entry.principal_arn.contains(kind));
            entries.map(|entry| told(key, entry)).collect::<Vec<_>>()
        };
        self.entries.write(json!({
            "mapRoles": of_kind("rolearn", ":role/"),
            "mapUsers": of_kind("userarn", ":user/"),
        }));
        let chain = match door.mode() {
            Mode::ConfigMap => "EKSConfigMap",
            Mode::ApiAndConfigMap => "DynamicFile EKSConfigMap",
            Mode::Api => "DynamicFile",
        };
        self.mode.write(json!({ "backendMode": chain }));
    }
}

fn told(key: &str, entry: &InForce) -> Value {
    json!({
        key: entry.principal_arn,
        "userid": entry.principal_id,
        "username": entry.username,
        "groups": entry.groups,
    })
}

impl Watched {
    fn new(path: &Path) -> Self {
        Self(Mutex::new(Written {
            file: File::create_new(path).expect("the folder is writable"),
            content: Value::Null,
            length: 0,
            when: Instant::now(),
        }))
    }

    fn write(&self, content: Value) {
        let mut written = self.0.lock().expect("nobody panics with it");
        if written.content == content {
            return;
        }
        let mut whole = content.clone();
        whole["LastUpdatedDateTime"] = json!(Timestamp::now().as_second().to_string());
        whole["Version"] = json!("1");
        // Blanks over what was longer before: a file that is cut first would be read empty.
        let text = format!("{:width$}", whole.to_string(), width = written.length);
        // Before the file is: whoever is refused by what reads it is refused later.
        written.when = Instant::now();
        let done = written.file.write_all_at(text.as_bytes(), 0);
        done.expect("the file is writable");
        written.content = content;
        written.length = text.len();
    }
}
