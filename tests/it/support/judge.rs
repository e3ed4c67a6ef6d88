//! The real aws-iam-authenticator's ConfigMap backend as judge: who does it let in, as whom?
//!
//! The program `tests/testbed/authenticator` speaks JSON lines, one answer to each.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use super::programs::program;

/// A judge that watches aws-auth on one API server, as EKS does. It ends when this value is dropped.
pub(crate) struct Judge {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Judge {
    /// What the authenticator's parser makes of each document (`data` of a ConfigMap), in order.
    pub(crate) fn parse(documents: &[BTreeMap<String, String>]) -> Vec<Value> {
        ask_all("parse", documents)
    }

    /// Each document as kubectl prints it (`manifest`) and as it reads that back (`data`), or why it can't (`error`).
    pub(crate) fn print(documents: &[BTreeMap<String, String>]) -> Vec<Value> {
        ask_all("print", documents)
    }

    /// A judge that watches `kube-system/aws-auth`, with the rights of this kubeconfig.
    pub(crate) fn watch(kubeconfig: &Path) -> Self {
        let path = kubeconfig.to_str().expect("our own paths are text");
        let (child, questions, answers) = start(&["watch", path]);
        Self {
            child,
            questions: Some(questions),
            answers,
        }
    }

    /// How the caller of this IAM or STS ARN would be let in now, or that it would not.
    pub(crate) fn map(&mut self, arn: &str) -> Value {
        let questions = self.questions.as_mut().expect("open until it is dropped");
        writeln!(questions, "{}", json!({ "arn": arn })).expect("the judge reads");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the judge writes text");
        value(&answer)
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        // The end of its input ends it, also where this process is killed.
        drop(self.questions.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One answer to each document.
fn ask_all(command: &str, documents: &[BTreeMap<String, String>]) -> Vec<Value> {
    let (mut child, mut questions, answers) = start(&[command]);
    // Beside the reading: neither pipe holds all of many documents.
    let lines: Vec<String> = documents
        .iter()
        .map(|data| json!({ "data": data }).to_string())
        .collect();
    let writer = thread::spawn(move || {
        for line in lines {
            writeln!(questions, "{line}").expect("the judge reads");
        }
    });
    let answered: Vec<Value> = answers
        .lines()
        .map(|line| value(&line.expect("the judge writes text")))
        .collect();
    writer.join().expect("the judge reads");
    let status = child.wait().expect("the judge ends");
    assert!(status.success(), "the judge ended with {status}");
    assert_eq!(
        answered.len(),
        documents.len(),
        "the judge gives one answer to each document"
    );
    answered
}

fn start(args: &[&str]) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let mut child = Command::new(program("authenticator"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the judge starts");
    let questions = child.stdin.take().expect("stdin is piped");
    let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
    (child, questions, answers)
}

fn value(line: &str) -> Value {
    serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("{error} in the judge's answer {line:?}"))
}
