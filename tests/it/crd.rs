//! The CRD: fresh, accepted by a real API server, and one in mind with the rules as they run offline.

mod cases;

use std::fmt::Write as _;

use identity_mapper::api::{Violation, check_json};
use identity_mapper::cli::crd::crd_yaml;
use serde_json::{Value, json};

use cases::{Case, cases};

#[test]
fn crds_folder_is_fresh() {
    let checked_in = include_str!("../../crds/identitymappings.identity-mapper.dev.yaml");
    assert!(
        checked_in == crd_yaml(),
        "run: cargo run -- crd > crds/identitymappings.identity-mapper.dev.yaml"
    );
}

#[test]
fn cases_offline() {
    let mut failures = String::new();
    for case in cases() {
        let found = check_json(&object(&case)).err().unwrap_or_default();
        compare(&case, &found, &mut failures);
    }
    assert!(failures.is_empty(), "{failures}");
}

fn object(case: &Case) -> Value {
    let spec: Value =
        serde_saphyr::from_str(&case.spec).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    json!({
        "apiVersion": "identity-mapper.dev/v1alpha1",
        "kind": "IdentityMapping",
        "metadata": {"name": "case"},
        "spec": spec,
    })
}

/// Notes where what was found is not exactly what the table expects.
fn compare(case: &Case, found: &[Violation], failures: &mut String) {
    let mut found = found.to_vec();
    found.sort();
    let agrees = found.len() == case.wrong.len()
        && found
            .iter()
            .zip(&case.wrong)
            .all(|(found, (field, message))| {
                found.field == *field && found.message.to_lowercase().contains(message)
            });
    if !agrees {
        let _ = writeln!(
            failures,
            "{}:\n  expected {:?}\n  found    {found:?}",
            case.name, case.wrong
        );
    }
}
