//! What is a change, and what an echo.

use serde_json::{Value, json};

use super::*;
use crate::api::finalizer::Finalizer;
use crate::aws_auth::Section;

const AWS_AUTH: &str = "kube-system/aws-auth";
const HISTORY: &str = "kube-system/aws-auth-history";

fn mapping(version: &str, metadata: &Value) -> SeenMapping {
    let mut object = json!({
        "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping",
        "metadata": { "name": "a", "uid": "u", "generation": 1, "resourceVersion": version },
        "spec": { "principal": { "arn": "arn:aws:iam::111122223333:role/a" } },
    });
    for (key, value) in metadata.as_object().into_iter().flatten() {
        object["metadata"][key] = value.clone();
    }
    SeenMapping::from_object(&serde_json::from_value(object).expect("an IdentityMapping"))
}

fn config_map(version: &str) -> ConfigMapView {
    ConfigMapView {
        uid: "c".to_owned(),
        resource_version: version.to_owned(),
        ..ConfigMapView::default()
    }
}

fn history(version: &str, annotation: &str) -> HistoryView {
    HistoryView {
        resource_version: version.to_owned(),
        annotations: BTreeMap::from([("a".to_owned(), annotation.to_owned())]),
        ..HistoryView::default()
    }
}

fn subjects(group: &str) -> BindingSubjects {
    BindingSubjects {
        groups: BTreeSet::from([group.to_owned()]),
        ..BindingSubjects::default()
    }
}

fn role_binding(change: WatchChange<BindingSubjects>) -> Watched {
    Watched::RoleBinding(change, Arc::new(Interest::All))
}

fn cluster_role_binding(change: WatchChange<BindingSubjects>) -> Watched {
    Watched::ClusterRoleBinding(change, Arc::new(Interest::All))
}

fn applied<T>(key: &str, value: T) -> WatchChange<T> {
    WatchChange::Applied(key.to_owned(), value)
}

fn deleted<T>(key: &str, version: &str) -> WatchChange<T> {
    WatchChange::Deleted {
        key: key.to_owned(),
        resource_version: version.to_owned(),
    }
}

fn list<T>(items: Vec<(&str, T)>) -> Vec<WatchChange<T>> {
    let items = items
        .into_iter()
        .map(|(key, value)| WatchChange::Listed(key.to_owned(), value));
    std::iter::once(WatchChange::Restart)
        .chain(items)
        .chain([WatchChange::Complete])
        .collect()
}

fn events() -> Vec<Watched> {
    let mut events = Vec::new();
    events.extend(
        list(vec![("a", mapping("1", &json!({})))])
            .into_iter()
            .map(Watched::Mapping),
    );
    events.extend(
        list(vec![(AWS_AUTH, config_map("10"))])
            .into_iter()
            .map(Watched::ConfigMap),
    );
    events.extend(
        list(vec![(HISTORY, history("20", "x"))])
            .into_iter()
            .map(Watched::History),
    );
    events.extend(
        list(vec![("ns/b", subjects("g"))])
            .into_iter()
            .map(role_binding),
    );
    events.extend(list(vec![]).into_iter().map(cluster_role_binding));
    events.extend(
        list(vec![("crd", Definition { deleting: false })])
            .into_iter()
            .map(Watched::Definition),
    );
    events
}

fn name() -> ConfigMapName {
    ConfigMapName {
        namespace: "kube-system".to_owned(),
        name: "aws-auth".to_owned(),
    }
}

/// Everything listed, and one pass over.
fn settled() -> WatchedState {
    let mut state = WatchedState::new(name());
    for event in events() {
        state.apply(event);
    }
    assert!(state.changed(), "the first pass is due");
    let snapshot = state
        .snapshot(Timestamp::UNIX_EPOCH, AwsState::Off)
        .expect("everything is listed");
    state.settle(&snapshot.observed, &snapshot.observed);
    assert!(!state.changed(), "a pass leaves nothing to do");
    state
}

fn changed_by(events: impl IntoIterator<Item = Watched>) -> bool {
    let mut state = settled();
    for event in events {
        state.apply(event);
    }
    state.changed()
}

#[test]
fn nothing_is_handed_out_before_every_list_is_complete() {
    let events = events();
    let mut state = WatchedState::new(name());
    for event in &events[..events.len() - 1] {
        state.apply(event.clone());
        assert!(
            !state.changed()
                && state
                    .snapshot(Timestamp::UNIX_EPOCH, AwsState::Off)
                    .is_none()
        );
    }
    assert_eq!(state.missing(), ["the CustomResourceDefinition"]);
    state.apply(events.last().expect("there are events").clone());
    assert!(state.missing().is_empty() && state.changed());
}

#[test]
fn an_unlisted_config_map_is_missing_only_once_the_list_said_so() {
    let mut state = WatchedState::new(name());
    for event in events() {
        if !matches!(event, Watched::ConfigMap(WatchChange::Listed(..))) {
            state.apply(event);
        }
    }
    assert_eq!(
        state
            .snapshot(Timestamp::UNIX_EPOCH, AwsState::Off)
            .expect("complete")
            .observed
            .config_map,
        None
    );
}

#[test]
fn echoes_of_own_writes_are_no_changes() {
    let cases: [(&str, Vec<Watched>, bool); 12] = [
        (
            "a status",
            vec![Watched::Mapping(applied("a", mapping("2", &json!({}))))],
            false,
        ),
        (
            "our finalizer",
            vec![Watched::Mapping(applied(
                "a",
                mapping("2", &json!({ "finalizers": [Finalizer::AwsAuth.as_str()] })),
            ))],
            false,
        ),
        (
            "a spec",
            vec![Watched::Mapping(applied(
                "a",
                mapping("2", &json!({ "generation": 2 })),
            ))],
            true,
        ),
        (
            "a new mapping",
            vec![Watched::Mapping(applied(
                "b",
                mapping("2", &json!({ "name": "b", "uid": "v" })),
            ))],
            true,
        ),
        (
            "a deleted mapping",
            vec![Watched::Mapping(deleted("a", "2"))],
            true,
        ),
        (
            "aws-auth",
            vec![Watched::ConfigMap(applied(AWS_AUTH, config_map("11")))],
            true,
        ),
        (
            "an older aws-auth",
            vec![Watched::ConfigMap(applied(AWS_AUTH, config_map("9")))],
            false,
        ),
        (
            "a deleted aws-auth",
            vec![Watched::ConfigMap(deleted(AWS_AUTH, "11"))],
            true,
        ),
        (
            "copies in the history",
            vec![Watched::History(applied(HISTORY, history("21", "x")))],
            false,
        ),
        (
            "annotations of the history",
            vec![Watched::History(applied(HISTORY, history("21", "y")))],
            true,
        ),
        (
            "a binding of known groups",
            vec![
                cluster_role_binding(applied("c", subjects("g"))),
                role_binding(deleted("ns/b", "")),
            ],
            false,
        ),
        (
            "a binding of a new group",
            vec![role_binding(applied("ns/c", subjects("h")))],
            true,
        ),
    ];
    for (what, events, expected) in cases {
        assert_eq!(changed_by(events), expected, "{what}");
    }
}

#[test]
fn an_equal_list_is_no_change() {
    assert!(!changed_by(events()));
}

#[test]
fn a_deletion_of_the_definition_is_a_change() {
    assert!(changed_by([Watched::Definition(applied(
        "crd",
        Definition { deleting: true }
    ))]));
}

/// A pass that read version 12 and wrote 13, while the watch told of `meanwhile`.
fn after_own_write(meanwhile: &[&str]) -> WatchedState {
    let mut state = settled();
    state.apply(Watched::ConfigMap(applied(AWS_AUTH, config_map("11"))));
    let snapshot = state
        .snapshot(Timestamp::UNIX_EPOCH, AwsState::Off)
        .expect("complete");
    for version in meanwhile {
        state.apply(Watched::ConfigMap(applied(AWS_AUTH, config_map(version))));
    }
    let left = Observed {
        config_map: Some(config_map("13")),
        ..snapshot.observed.clone()
    };
    state.settle(&snapshot.observed, &left);
    state
}

#[test]
fn our_own_write_is_no_change_whenever_its_event_comes() {
    for meanwhile in [&[][..], &["12"], &["12", "13"], &["13"]] {
        let mut state = after_own_write(meanwhile);
        assert!(!state.changed(), "{meanwhile:?}");
        for late in ["12", "13"] {
            state.apply(Watched::ConfigMap(applied(AWS_AUTH, config_map(late))));
            assert!(!state.changed(), "{meanwhile:?}, then {late}");
        }
        assert_eq!(state.config_map().expect("there").resource_version, "13");
    }
}

#[test]
fn a_write_after_ours_is_a_change_whenever_its_event_comes() {
    assert!(after_own_write(&["14"]).changed());
    let mut state = after_own_write(&["13"]);
    state.apply(Watched::ConfigMap(applied(AWS_AUTH, config_map("14"))));
    assert!(state.changed());
}

#[test]
fn what_a_pass_found_missing_is_no_change() {
    let mut state = settled();
    let snapshot = state
        .snapshot(Timestamp::UNIX_EPOCH, AwsState::Off)
        .expect("complete");
    let left = Observed {
        config_map: None,
        ..snapshot.observed.clone()
    };
    state.settle(&snapshot.observed, &left);
    assert!(!state.changed() && state.config_map().is_none());
}

#[test]
fn a_status_that_waits_counts_as_written() {
    let mut state = settled();
    let status = IdentityMappingStatus {
        username: Some("me".to_owned()),
        ..IdentityMappingStatus::default()
    };
    state.assume_status("a", "u", &status);
    let username = |state: &mut WatchedState| {
        let snapshot = state
            .snapshot(Timestamp::UNIX_EPOCH, AwsState::Off)
            .expect("complete");
        snapshot.desired.mappings[0].status.username.clone()
    };
    assert_eq!(username(&mut state), status.username);
    state.apply(Watched::Mapping(applied(
        "a",
        mapping("2", &json!({ "generation": 2 })),
    )));
    assert_eq!(
        username(&mut state),
        status.username,
        "also after an edit that does not show it yet"
    );
    state.release_status("a");
    state.apply(Watched::Mapping(applied(
        "a",
        mapping("3", &json!({ "generation": 3 })),
    )));
    assert_eq!(
        username(&mut state),
        None,
        "what the API server shows counts again"
    );
    state.assume_status("a", "u", &status);
    state.apply(Watched::Mapping(applied(
        "a",
        mapping("4", &json!({ "uid": "v" })),
    )));
    assert_eq!(
        username(&mut state),
        None,
        "another object under the name has a status of its own"
    );
}

#[test]
fn the_end_of_a_mapping_that_was_given_up_is_no_change() {
    let mut state = settled();
    state.let_go("u");
    state.apply(Watched::Mapping(deleted("a", "5")));
    assert!(!state.changed());
    assert!(state.let_go.is_empty(), "forgotten with the object");
}

#[test]
fn a_status_that_someone_else_changed_is_a_change_and_ours_is_none() {
    let with_status = |version: &str, username: Option<&str>| {
        let mut seen = mapping(version, &json!({}));
        seen.mapping.status.username = username.map(str::to_owned);
        seen
    };
    let ours = with_status("2", Some("me"));
    let mut state = settled();
    // Its event may come before its answer, or after it.
    state.assume_status("a", "u", &ours.mapping.status);
    state.apply(Watched::Mapping(applied("a", ours.clone())));
    assert!(!state.changed());
    state.release_status("a");
    state.absorb_mapping("a", ours.clone());
    state.apply(Watched::Mapping(applied("a", ours)));
    assert!(!state.changed());
    state.apply(Watched::Mapping(applied("a", with_status("3", None))));
    assert!(state.changed());
}

/// A later event hides what an earlier one showed, and a revocation may be in between.
#[test]
fn each_text_that_parses_is_told_until_it_is_taken() {
    let text = |version: &str, roles: &str| ConfigMapView {
        data: [("mapRoles".to_owned(), roles.to_owned())].into(),
        ..config_map(version)
    };
    for overtaken in [false, true] {
        let mut state = settled();
        state.take_texts();
        let snapshot = state.input(Timestamp::UNIX_EPOCH, AwsState::Off);
        let before = snapshot.expect("complete").observed;
        if overtaken {
            let left = Observed {
                config_map: Some(text("12", "]")),
                ..before.clone()
            };
            state.settle(&before, &left);
        }
        assert_eq!(state.shown.as_deref(), Some("10"));
        for (version, roles) in [("11", "[]"), ("12", "]")] {
            let change = applied(AWS_AUTH, text(version, roles));
            state.apply(Watched::ConfigMap(change));
        }
        assert_eq!(state.shown.as_deref(), Some("12"));
        state.apply(Watched::ConfigMap(deleted(AWS_AUTH, "13")));
        assert_eq!(state.shown, None);
        let seen = state.take_texts();
        let good = &seen.good[&Section::Roles];
        assert_eq!(good.resource_version, "11");
        assert_eq!(good.text.as_deref(), Some("[]"));
        assert_eq!(seen.standing, Some(text("12", "]")));
        assert_eq!(state.take_texts(), SeenTexts::default());
    }
}
