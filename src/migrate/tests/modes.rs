//! Changes of the mode, and the clusters that take them.

use crate::migrate::{check_mode_change, check_platform, modes_between};
use crate::observed::Mode::{Api, ApiAndConfigMap, ConfigMap};

#[test]
fn mode_changes_one_step_and_never_back() {
    for (from, to, words) in [
        (ConfigMap, ApiAndConfigMap, None),
        (ApiAndConfigMap, Api, None),
        (ConfigMap, Api, Some("change to API_AND_CONFIG_MAP first")),
        (
            ConfigMap,
            ConfigMap,
            Some("it can change to API_AND_CONFIG_MAP"),
        ),
        (
            ApiAndConfigMap,
            ApiAndConfigMap,
            Some("it can change to API, which can't be undone"),
        ),
        (Api, Api, Some("no further change is possible")),
        (
            ApiAndConfigMap,
            ConfigMap,
            Some("can't change a cluster from authentication mode API_AND_CONFIG_MAP back"),
        ),
        (Api, ApiAndConfigMap, Some("no further change is possible")),
        (Api, ConfigMap, Some("no further change is possible")),
    ] {
        let refused = check_mode_change(from, to)
            .err()
            .map(|error| error.to_string());
        match (words, &refused) {
            (None, None) => {}
            (Some(words), Some(refused)) => assert!(refused.contains(words), "{refused}"),
            _ => panic!("{from} to {to}: {refused:?}"),
        }
    }
    assert_eq!(modes_between(ConfigMap, Api), [ApiAndConfigMap, Api]);
    assert_eq!(modes_between(ApiAndConfigMap, Api), [Api]);
    assert_eq!(modes_between(Api, Api), []);
}

#[test]
fn clusters_without_access_entries_report_the_version_that_they_need() {
    for (version, platform, needs) in [
        ("1.22", "eks.99", Some("eks.17 of Kubernetes 1.23")),
        ("1.23", "eks.16", Some("eks.17")),
        ("1.23", "eks.17", None),
        ("1.29", "eks.1", None),
        ("1.30", "eks.1", Some("eks.2")),
        ("1.30", "eks.2", None),
        ("1.31", "eks.1", None),
        ("", "", None),
        ("1.30", "", None),
    ] {
        let refused = check_platform(version, platform)
            .err()
            .map(|error| error.to_string());
        match (needs, &refused) {
            (None, None) => {}
            (Some(needs), Some(refused)) => {
                assert!(
                    refused.contains(&format!("from platform version {needs}, and")),
                    "{refused}"
                );
            }
            _ => panic!("{version} {platform}: {refused:?}"),
        }
    }
}
