//! The real authenticator and our reading of aws-auth agree, on recorded, generated and mutated documents.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use identity_mapper::aws_auth::{
    Document, Entry, ManifestError, Problem, ProblemKind, Section, read_aws_auth,
};
use serde_json::{Value, json};

use super::aws_auth_texts::{Random, awkward, generate, mutate};
use super::support::judge::Judge;
use super::support::programs::operator_binary;

type Data = BTreeMap<String, String>;

const CASES: &str = include_str!("../authenticator-cases.json");
/// Generated and mutated documents of one run, always the same ones; [`MORE`] asks for another number.
const DOCUMENTS: usize = 6_000;
const MORE: &str = "IDENTITY_MAPPER_DOCUMENTS";
/// Of these, as many also go through the command line.
const COMMANDS: usize = 200;

fn cases() -> Vec<Value> {
    let corpus: Value = serde_json::from_str(CASES).unwrap();
    corpus["cases"].as_array().unwrap().clone()
}

fn data(case: &Value) -> Data {
    serde_json::from_value(case["data"].clone()).unwrap()
}

fn count() -> usize {
    let asked = std::env::var(MORE).ok();
    asked.map_or(DOCUMENTS, |it| it.parse().expect("a number"))
}

/// The recorded documents, awkward ones made by hand, generated ones and mutations.
fn documents() -> Vec<Data> {
    let mut documents: Vec<Data> = cases().iter().map(data).collect();
    let bases: Vec<String> = documents.iter().flat_map(Data::values).cloned().collect();
    for text in awkward() {
        for section in Section::ALL {
            documents.push(Data::from([(section.key().to_owned(), text.clone())]));
        }
    }
    let mut random = Random::new(20_260_101);
    for _ in 0..count() {
        let text = match random.below(4) {
            0 => generate(&mut random),
            1 => {
                let text = generate(&mut random);
                mutate(&mut random, &text, &bases)
            }
            _ => {
                let base = &bases[random.below(bases.len())];
                mutate(&mut random, base, &bases)
            }
        };
        let section = match random.below(6) {
            0 => Section::Accounts,
            1 => Section::Users,
            _ => Section::Roles,
        };
        documents.push(Data::from([(section.key().to_owned(), text)]));
    }
    documents
}

/// What the judge says, in the form of [`ours`].
fn theirs(answer: &Value) -> Value {
    let entries = |key: &str, arn: &str| -> Vec<Value> {
        let entry = |entry: &Value| {
            let groups = if entry["groups"].is_null() {
                json!([])
            } else {
                entry["groups"].clone()
            };
            json!([
                entry[arn].as_str().unwrap_or_default(),
                entry["username"],
                groups,
                !entry["sso"].is_null()
            ])
        };
        answer[key].as_array().unwrap().iter().map(entry).collect()
    };
    json!({
        "roles": entries("roles", "rolearn"),
        "users": entries("users", "userarn"),
        "accounts": answer["accounts"],
        "complains": answer["errors"] != 0,
    })
}

fn ours(data: &Data) -> Value {
    let document = Document::parse(data);
    let entry = |entry: &Entry| json!([entry.arn, entry.username, entry.groups, entry.sso]);
    let entries = |section| -> Vec<Value> {
        document
            .section(section)
            .entries
            .iter()
            .map(entry)
            .collect()
    };
    json!({
        "roles": entries(Section::Roles),
        "users": entries(Section::Users),
        "accounts": document.section(Section::Accounts).accounts,
        // What it reads otherwise than somebody would, it does not complain of.
        "complains": problems(&document).any(|problem| problem.kind != ProblemKind::Misread),
    })
}

fn problems(document: &Document) -> impl Iterator<Item = &Problem> {
    let sections = Section::ALL.into_iter();
    sections.flat_map(|section| &document.section(section).problems)
}

#[test]
fn the_recorded_answers_are_the_authenticators() {
    let cases = cases();
    let answers = Judge::parse(&cases.iter().map(data).collect::<Vec<_>>());
    for (case, answer) in cases.iter().zip(answers) {
        assert_eq!(theirs(&answer), theirs(&case["seen"]), "{}", case["name"]);
    }
}

#[test]
fn our_reading_is_the_authenticators() {
    let documents = documents();
    let distinct: BTreeSet<&Data> = documents.iter().collect();
    assert!(
        distinct.len() >= 5_000,
        "the documents differ: {}",
        distinct.len()
    );
    let answers = Judge::parse(&documents);
    let mut effective = 0;
    for (data, answer) in documents.iter().zip(&answers) {
        let theirs = theirs(answer);
        assert_eq!(ours(data), theirs, "{data:?}: {}", answer["error_texts"]);
        if ["roles", "users", "accounts"]
            .iter()
            .any(|key| theirs[key] != json!([]))
        {
            effective += 1;
        }
    }
    // Documents that take no effect at all prove little.
    assert!(effective >= 1_000, "documents with an entry: {effective}");
}

fn data_of(manifest: &str) -> Result<Data, ManifestError> {
    let read = read_aws_auth(manifest, ("kube-system", "aws-auth"));
    read.map(|read| read.data)
}

#[test]
fn manifests_are_read_as_kubectl_reads_them() {
    let documents = documents();
    let mut read = 0;
    for (data, printed) in documents.iter().zip(Judge::print(&documents)) {
        let manifest = printed["manifest"].as_str().unwrap();
        if printed["error"].is_null() {
            let back: Data = serde_json::from_value(printed["data"].clone()).unwrap();
            assert_eq!(data_of(manifest), Ok(back), "{manifest}");
            read += 1;
        }
        let json = json!({ "kind": "ConfigMap", "data": data }).to_string();
        assert_eq!(data_of(&json).as_ref(), Ok(data), "{json}");
    }
    // kubectl can't print control characters as YAML.
    assert!(read >= 5_000, "documents that kubectl can print: {read}");
}

#[test]
fn effective_prints_what_the_authenticator_sees() {
    let step = count() / COMMANDS;
    let documents: Vec<Data> = documents().into_iter().step_by(step).collect();
    for (data, answer) in documents.iter().zip(Judge::parse(&documents)) {
        let theirs = theirs(&answer);
        let manifest = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": data }).to_string();
        let printed = effective(&manifest);
        for (key, arn) in [("roles", "rolearn"), ("users", "userarn")] {
            let entries = printed[key].as_array().unwrap().iter();
            let printed: Vec<_> = entries
                .map(|e| json!([e[arn], e["username"], e["groups"]]))
                .collect();
            let theirs = theirs[key].as_array().unwrap().iter();
            let theirs: Vec<_> = theirs.map(|e| json!([e[0], e[1], e[2]])).collect();
            assert_eq!(printed, theirs, "{key} of {manifest}");
        }
        assert_eq!(printed["accounts"], theirs["accounts"], "{manifest}");
        let document = Document::parse(data);
        let errors = printed["errors"].as_array().unwrap().len();
        assert_eq!(errors, problems(&document).count(), "{manifest}");
        assert!(errors > 0 || theirs["complains"] == false, "{manifest}");
    }
}

/// What `identity-mapper effective - -o json` prints for a manifest.
fn effective(manifest: &str) -> Value {
    let mut child = Command::new(operator_binary())
        .args(["effective", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = manifest.to_owned();
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {manifest}"))
}
