//! Copies in the history, and the annotations beside them.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use crate::observed::{ConfigMapView, CopyName, HistoryView, Kept, KeptCopy, Manager, NewCopy};
use crate::ownership::{MARK_ANNOTATION, Mark};
use crate::time::Timestamp;

/// What a copy holds.
#[derive(Deserialize)]
struct Content {
    data: BTreeMap<String, String>,
    mark: String,
    #[serde(default)]
    managers: BTreeMap<String, Manager>,
}

/// The first line is the name of a copy, and what follows its bytes: also packed as JSON under that name, and under the name that they
/// have to have. No copy makes the reader panic, and one that is read is kept again under the same hash.
pub fn copy(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let (name, bytes) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let name = String::from_utf8_lossy(name);
    if let Some(said) = CopyName::parse(&name) {
        let again =
            NewCopy::of(&BTreeMap::new(), "", &BTreeMap::new(), None).name(said.time, said.first);
        let again = CopyName::parse(&again).expect("a name of ours");
        assert_eq!(
            (again.time, again.first),
            (said.time, said.first),
            "{name:?}"
        );
    }
    let history = HistoryView::recent([(&*name, bytes), ("", bytes)].into_iter());
    assert!(history.len() <= 1);
    if let Ok(copy) = KeptCopy::read(&name, bytes) {
        is_kept_again(&copy);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    annotations(text);
    let packed = gzipped(text).expect("memory takes it");
    if let Ok(copy) = KeptCopy::read(&name, &packed) {
        is_kept_again(&copy);
    }
    let Ok(Content {
        data,
        mark,
        managers,
    }) = serde_json::from_str(text)
    else {
        return;
    };
    let new = NewCopy::of(&data, &mark, &managers, None);
    let name = new.name(Timestamp::default(), false);
    let copy = KeptCopy::read(&name, &packed).expect("it has the name that it should have");
    assert_eq!(
        (&copy.data, &copy.mark, &copy.managers),
        (&data, &mark, &managers)
    );
    is_kept_again(&copy);
}

fn is_kept_again(copy: &KeptCopy) {
    let new = NewCopy::of(
        &copy.data,
        &copy.mark,
        &copy.managers,
        copy.resource_version.as_deref(),
    );
    assert!(new.has_name(&copy.name), "{}", copy.name);
    let name = new.name(copy.time, copy.first);
    let bytes = new.pack().expect("memory takes it");
    let again = KeptCopy::read(&name, &bytes).expect("it is ours");
    assert_eq!(
        (
            &again.data,
            &again.mark,
            &again.managers,
            again.time,
            again.first
        ),
        (
            &copy.data,
            &copy.mark,
            &copy.managers,
            copy.time,
            copy.first
        )
    );
    assert!(copy.short().len() <= copy.name.len());
}

fn gzipped(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

/// What is read of an annotation is read again as it is written.
fn annotations(text: &str) {
    let mark = Mark::parse(text);
    assert_eq!(Mark::parse(&mark.render()), mark, "{text:?}");
    let annotations = BTreeMap::from([(MARK_ANNOTATION.to_owned(), text.to_owned())]);
    let view = ConfigMapView {
        annotations,
        ..ConfigMapView::default()
    };
    assert_eq!(Mark::of(&view), mark);
    if let Some(kept) = Kept::parse(text) {
        assert_eq!(Kept::parse(&kept.render()), Some(kept), "{text:?}");
    }
}
