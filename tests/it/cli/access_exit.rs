//! What `access` and `access diff` say and end with where a report is empty, or can't be read.

use super::run;

#[test]
fn a_key_that_is_dropped_whole_fails_the_report() {
    let manifest =
        "kind: ConfigMap\nmetadata: {name: aws-auth}\ndata:\n  mapRoles: |\n    - rolearn: [\n";
    let text = run(&["access", "--aws-auth", "-"], manifest);
    assert!(text.starts_with("exit code 1\n"), "{text}");
    assert!(
        text.contains("No entry grants access: the authenticator drops all of mapRoles.\n"),
        "{text}"
    );
    let json = run(&["access", "--aws-auth", "-", "-o", "json"], manifest);
    assert!(json.starts_with("exit code 1\n"), "{json}");
    assert!(
        json.contains("\"droppedKeys\": [\n    \"mapRoles\"\n  ]"),
        "{json}"
    );
    let empty = "kind: ConfigMap\nmetadata: {name: aws-auth}\n";
    let text = run(&["access", "--aws-auth", "-"], empty);
    assert!(text.starts_with("exit code 0\n"), "{text}");
    assert!(text.contains("No entry grants access.\n"), "{text}");
}

#[test]
fn reports_that_cannot_be_compared_end_with_2_as_diff_has_it() {
    let missing = run(&["access", "diff", "/nonexistent/a.json", "-"], "");
    assert!(missing.starts_with("exit code 2\n"), "{missing}");
    assert!(missing.contains("/nonexistent/a.json"), "{missing}");
    for arguments in [
        &["access", "diff", "one.json"][..],
        &["access", "diff"],
        &["-v", "access", "diff", "--nonsense", "a", "b"],
        &["rollback", "diff"],
    ] {
        let usage = run(arguments, "");
        assert!(usage.starts_with("exit code 2\n"), "{arguments:?}: {usage}");
    }
    for arguments in [&["access", "--nonsense"][..], &["plan", "--nonsense"]] {
        let usage = run(arguments, "");
        assert!(usage.starts_with("exit code 1\n"), "{arguments:?}: {usage}");
    }
    let no_report = run(&["access", "diff", "-", "/dev/null"], "{}");
    assert!(no_report.starts_with("exit code 2\n"), "{no_report}");
}
