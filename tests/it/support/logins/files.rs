//! Access entries and the authentication mode as the authenticator reads them: two files that it watches.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

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
/// that is replaced.
struct Watched {
    path: PathBuf,
    written: Mutex<(Value, usize)>,
}

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            entries: Watched::new(folder.join(ENTRIES)),
            mode: Watched::new(folder.join(MODE)),
        }
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
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            written: Mutex::new((Value::Null, 0)),
        }
    }

    fn write(&self, content: Value) {
        let mut written = self.written.lock().expect("nobody panics with it");
        if written.0 == content {
            return;
        }
        let mut whole = content.clone();
        whole["LastUpdatedDateTime"] = json!(Timestamp::now().as_second().to_string());
        whole["Version"] = json!("1");
        // Blanks over what was longer before: a file that is cut first would be read empty.
        let text = format!("{:width$}", whole.to_string(), width = written.1);
        if written.1 == 0 {
            let mut file = File::create_new(&self.path).expect("the folder is writable");
            file.write_all(text.as_bytes())
                .expect("the file is writable");
        } else {
            let file = OpenOptions::new().write(true).open(&self.path);
            let file = file.expect("nobody removes it");
            file.write_all_at(text.as_bytes(), 0)
                .expect("the file is writable");
        }
        *written = (content, text.len());
    }
}
