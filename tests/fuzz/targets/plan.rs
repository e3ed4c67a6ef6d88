#![no_main]
//! Specs that are often valid, by `arbitrary`: most of what libFuzzer would write as JSON is no mapping.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Result, Unstructured};
use identity_mapper::fuzzing::{Step, plan};
use serde_json::{Value, json};

#[derive(Debug)]
struct Scene {
    mode: u8,
    data: BTreeMap<String, String>,
    steps: Vec<Step>,
}

const KEYS: [&str; 3] = ["mapRoles", "mapUsers", "mapAccounts"];
const ROLES: [&str; 6] = ["node", "ops", "a", "A", "teams/dev/a", "b"];
const WORDS: [&str; 12] = [
    "a",
    "ops",
    "system:masters",
    "system:nodes",
    "system:bootstrappers",
    "system:viewers",
    "identity-mapper:bridge",
    "u:{{SessionName}}",
    "{{EC2PrivateDNSName}}",
    "a: #'\"\\{}[]",
    "yes",
    "é\u{2028}",
];

impl<'a> Arbitrary<'a> for Scene {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let mode = bytes.arbitrary()?;
        let count = bytes.int_in_range(1..=8)?;
        let steps = (0..count).map(|_| step(bytes)).collect::<Result<_>>()?;
        let mut data = BTreeMap::new();
        for _ in 0..bytes.int_in_range(0..=2)? {
            data.insert((*bytes.choose(&KEYS)?).to_owned(), section(bytes)?);
        }
        Ok(Scene { mode, data, steps })
    }
}

fn step(bytes: &mut Unstructured<'_>) -> Result<Step> {
    let number = bytes.arbitrary()?;
    Ok(match bytes.int_in_range(0..=15)? {
        0..=5 => Step::Apply {
            number,
            spec: spec(bytes)?,
        },
        6 | 7 => Step::Delete { number },
        8 => Step::Confirm {
            number,
            words: word(
                bytes,
                &[
                    "node-entry",
                    "last-administrator",
                    "mass-removal",
                    "node-entry,last-administrator,mass-removal",
                ],
            )?,
        },
        9 => Step::Write {
            key: (*bytes.choose(&KEYS)?).to_owned(),
            text: section(bytes)?,
        },
        10 => Step::Annotate {
            key: format!(
                "identity-mapper.dev/{}",
                word(
                    bytes,
                    &[
                        "removals", "confirm", "released", "handover", "cluster", "ping"
                    ]
                )?
            ),
            value: if bytes.arbitrary()? {
                Some(text(bytes)?)
            } else {
                None
            },
        },
        11 => Step::LoseMark,
        12 => {
            if bytes.arbitrary()? {
                Step::DeleteConfigMap
            } else {
                Step::Restart
            }
        }
        13 => Step::Later {
            seconds: bytes.int_in_range(0..=200_000)?,
        },
        14 => Step::ModeOn,
        _ => Step::Handover {
            word: word(bytes, &["Manual", "Auto", "Revert"])?,
        },
    })
}

/// One of these, or now and then anything.
fn word(bytes: &mut Unstructured<'_>, words: &[&str]) -> Result<String> {
    if bytes.ratio(1, 16)? {
        return text(bytes);
    }
    Ok((*bytes.choose(words)?).to_owned())
}

fn text(bytes: &mut Unstructured<'_>) -> Result<String> {
    let length = bytes.int_in_range(0..=40)?.min(bytes.len());
    Ok(String::from_utf8_lossy(bytes.bytes(length)?).into_owned())
}

fn arn(bytes: &mut Unstructured<'_>) -> Result<String> {
    let kind = if bytes.ratio(1, 5)? { "user" } else { "role" };
    let account = if bytes.ratio(1, 8)? {
        "444455556666"
    } else {
        "111122223333"
    };
    let name = word(bytes, &ROLES)?;
    Ok(format!("arn:aws:iam::{account}:{kind}/{name}"))
}

/// Perhaps a field.
fn field(
    bytes: &mut Unstructured<'_>,
    spec: &mut Value,
    name: &str,
    value: impl FnOnce(&mut Unstructured<'_>) -> Result<Value>,
) -> Result<()> {
    if bytes.arbitrary()? {
        spec[name] = value(bytes)?;
    }
    Ok(())
}

fn list(
    bytes: &mut Unstructured<'_>,
    value: impl Fn(&mut Unstructured<'_>) -> Result<Value>,
) -> Result<Value> {
    let count = bytes.int_in_range(0..=3)?;
    Ok(Value::Array(
        (0..count).map(|_| value(bytes)).collect::<Result<_>>()?,
    ))
}

fn spec(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let principal = if bytes.ratio(1, 8)? {
        json!({"permissionSet": {"name": word(bytes, &["Admin", "Read_Only"])?, "accountId": "111122223333"}})
    } else {
        json!({"arn": arn(bytes)?})
    };
    let mut spec = json!({"principal": principal});
    let name = |bytes: &mut Unstructured<'_>| Ok(Value::from(word(bytes, &WORDS)?));
    field(bytes, &mut spec, "username", name)?;
    field(bytes, &mut spec, "groups", |bytes| list(bytes, name))?;
    field(bytes, &mut spec, "accessPolicies", |bytes| {
        list(bytes, policy)
    })?;
    let choice = |words: &'static [&'static str]| {
        move |bytes: &mut Unstructured<'_>| Ok(Value::from(*bytes.choose(words)?))
    };
    if bytes.ratio(1, 4)? {
        spec["type"] = choice(&[
            "Standard",
            "EC2Linux",
            "EC2Windows",
            "FargateLinux",
            "HybridLinux",
            "EC2",
            "HyperPodLinux",
        ])(bytes)?;
    }
    field(
        bytes,
        &mut spec,
        "backend",
        choice(&["Auto", "ConfigMap", "AccessEntry"]),
    )?;
    field(
        bytes,
        &mut spec,
        "adoption",
        choice(&["IfIdentical", "Always", "Never"]),
    )?;
    if bytes.ratio(1, 4)? {
        spec["deletion"] = choice(&["Revoke", "Retain"])(bytes)?;
        // The simulated cluster's clock starts in January 2027.
        field(
            bytes,
            &mut spec,
            "validUntil",
            choice(&[
                "2026-12-24T18:00:00Z",
                "2027-01-15T08:05:00Z",
                "2027-01-16T00:00:00Z",
                "2999-12-31T23:59:59Z",
            ]),
        )?;
        field(bytes, &mut spec, "suspend", |bytes| {
            Ok(Value::from(bytes.arbitrary::<bool>()?))
        })?;
    }
    Ok(spec)
}

fn policy(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let mut policy = json!({"policy": word(bytes, &["AmazonEKSViewPolicy", "AmazonEKSClusterAdminPolicy", "AmazonEKSAdminPolicy"])?});
    if bytes.arbitrary()? {
        let namespaces = list(bytes, |bytes| {
            Ok(Value::from(word(bytes, &["dev", "dev-*", "*"])?))
        })?;
        policy["scope"] = json!({"type": "Namespace", "namespaces": namespaces});
    }
    Ok(policy)
}

/// A text of aws-auth: entries, or anything.
fn section(bytes: &mut Unstructured<'_>) -> Result<String> {
    let mut section = String::new();
    for _ in 0..bytes.int_in_range(0..=4)? {
        if bytes.ratio(1, 10)? {
            section += &text(bytes)?;
            continue;
        }
        let field = if bytes.ratio(1, 6)? {
            "userarn"
        } else {
            "rolearn"
        };
        let (arn, username) = (Value::from(arn(bytes)?), Value::from(word(bytes, &WORDS)?));
        let groups = list(bytes, |bytes| Ok(Value::from(word(bytes, &WORDS)?)))?;
        section +=
            &format!("- {field}: {arn}\n  username: {username} # kept\n  groups: {groups}\n");
    }
    Ok(section)
}

libfuzzer_sys::fuzz_target!(|scene: Scene| plan(scene.mode, &scene.data, &scene.steps));
