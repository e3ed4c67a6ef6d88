//! The page where room is scarce: scrolled, on a phone, on paper.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::ZlibDecoder;
use regex::bytes::Regex;
use serde_json::{Value, json};

use super::SOON;
use super::browser::{Browser, skipped};
use crate::cli::Run;
use crate::support::eventually;
use crate::support::programs::repository;
use crate::support::supervise::Scratch;

/// Writes the page of a command, and gives its URL.
fn page_of(folder: &Path, arguments: &[&str]) -> String {
    let arguments = [arguments, &["-o", "html"]].concat();
    let ran = Run::new(arguments).within(&repository()).run();
    assert_eq!(ran.stderr, "");
    let page = folder.join("page.html");
    fs::write(&page, ran.stdout).unwrap();
    format!("file://{}", page.display())
}

const EXAMPLES: [&str; 3] = [
    "access",
    "--aws-auth=tests/examples/aws-auth.yaml",
    "--access-entries=tests/examples/access-entries.json",
];

async fn phone(browser: &Browser) {
    let phone = json!({"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true});
    browser
        .command("Emulation.setDeviceMetricsOverride", phone)
        .await;
    eventually("nothing is wider than the phone", SOON, async || {
        let wide = browser
            .run("return document.documentElement.scrollWidth")
            .await;
        if wide.as_u64() <= Some(390) {
            Ok(())
        } else {
            Err(wide)
        }
    })
    .await;
}

#[tokio::test]
async fn real_pages_fit_a_phone() {
    const NAME: &str = "cli::access_page::paper::real_pages_fit_a_phone";
    let Some(browser) = Browser::start().await else {
        return skipped(NAME);
    };
    let folder = Scratch::new();
    browser.open(&page_of(folder.path(), &EXAMPLES)).await;
    assert!(
        browser.is_displayed(".note").await,
        "with the creator's note"
    );
    phone(&browser).await;

    // What differs between two reports, of one cluster and of several.
    let report = |principals: Value| {
        json!({
            "made": "2026-01-01T00:00:00Z", "principals": principals,
            "cluster": {"configMap": "kube-system/aws-auth", "url": "https://0123456789ABCDEF0123456789ABCDEF.gr7.eu-west-1.eks.amazonaws.com"},
        })
    };
    let principal = json!({
        "principal": "arn:aws:iam::111122223333:role/AWSReservedSSO_DataPlatformProductionOperations_0123456789abcdef",
        "username": "data-platform-production-operations:{{SessionName}}", "groups": ["system:masters"],
        "administrator": "group system:masters",
    });
    let (old, new) = (report(json!([])), report(json!([principal])));
    let many = |report: &Value| json!({"clusters": [{"cluster": "main", "report": report}, {"cluster": "gone", "error": "no answer"}]});
    for (old, new, heading, code) in [
        (old.clone(), new.clone(), "Became administrators (1)", 1),
        (many(&old), many(&new), "Became administrators (1)", 2),
    ] {
        let files = ["old.json", "new.json"].map(|name| folder.path().join(name));
        fs::write(&files[0], old.to_string()).unwrap();
        fs::write(&files[1], new.to_string()).unwrap();
        let [old, new] = files.map(|file| file.to_str().unwrap().to_owned());
        let run = |format| Run::new(["access", "diff", &old, &new, "-o", format]).run();
        let json = run("json");
        assert_eq!(json.code, code, "{}", json.shown());
        let document: Value = serde_json::from_str(&json.stdout).unwrap();
        let found = document["clusters"][0]["difference"].as_object();
        let found = found.or(document.as_object()).unwrap();
        for list in ["gainedAccess", "becameAdministrator"] {
            assert_eq!(found[list].as_array().unwrap().len(), 1, "{document}");
        }
        let file = folder.path().join("diff.html");
        fs::write(&file, run("html").stdout).unwrap();
        browser.open(&format!("file://{}", file.display())).await;
        phone(&browser).await;
        let headings = browser
            .run("return [...document.querySelectorAll('h2')].map((it) => it.textContent)")
            .await;
        let headings = headings.as_array().unwrap();
        assert!(headings.iter().any(|it| it == heading), "{headings:?}");
    }
}

/// Roles and users with names as people give them.
fn many(folder: &Path, count: usize) -> String {
    let teams = [
        "payments",
        "data-platform",
        "checkout",
        "identity",
        "observability",
    ];
    let roles: Vec<Value> = (0..count)
        .map(|number| {
            let team = teams[number % teams.len()];
            let name = match number % 3 {
                0 => format!("AWSReservedSSO_{team}-developer-{number}_{number:016x}"),
                1 => format!("{team}-deploy-production-eu-west-1-{number}"),
                _ => format!("eksctl-production-{team}-NodeInstanceRole-{number:010X}"),
            };
            let groups = [format!("{team}-developers"), format!("{team}-viewers")];
            json!({
                "rolearn": format!("arn:aws:iam::111122223333:role/{name}"),
                "username": format!("{team}:{{{{SessionName}}}}"), "groups": groups,
            })
        })
        .collect();
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth", "namespace": "kube-system"},
        "data": {"mapRoles": Value::from(roles).to_string()},
    });
    let file = folder.join("aws-auth.json");
    fs::write(&file, config_map.to_string()).unwrap();
    let aws_auth = format!("--aws-auth={}", file.display());
    page_of(folder, &["access", &aws_auth])
}

#[tokio::test]
async fn the_head_stays_in_sight() {
    const NAME: &str = "cli::access_page::paper::the_head_stays_in_sight";
    let Some(browser) = Browser::start().await else {
        return skipped(NAME);
    };
    let folder = Scratch::new();
    browser.open(&many(folder.path(), 150)).await;
    let top = "const head = document.querySelector('#who thead th').getBoundingClientRect();
        return [Math.round(head.top), document.elementFromPoint(head.left + 5, head.top + 5).closest('thead') !== null]";
    for row in [20, 80, 149] {
        let scroll = format!(
            "document.querySelectorAll('#who tbody tr')[{row}].scrollIntoView({{block: 'center', behavior: 'instant'}})"
        );
        browser.run(&scroll).await;
        eventually("the head is at the top", SOON, async || {
            let found = browser.run(top).await;
            if found == json!([0, true]) {
                Ok(())
            } else {
                Err(found)
            }
        })
        .await;
    }
}

/// The head of the table has a ground of its own on paper, which is looked for in what draws each sheet.
#[tokio::test]
async fn sheets_are_few_and_each_has_a_head() {
    const NAME: &str = "cli::access_page::paper::sheets_are_few_and_each_has_a_head";
    const COUNT: usize = 500;
    let Some(browser) = Browser::start().await else {
        return skipped(NAME);
    };
    let folder = Scratch::new();
    browser.open(&many(folder.path(), COUNT)).await;
    shows_all(&browser).await;
    let pdf = browser.pdf().await;
    let sheets = Regex::new(r"/Type\s*/Page\b")
        .unwrap()
        .find_iter(&pdf)
        .count();
    // 3,000 principals on fewer than 60; the first sheet has what is above the table, the last what is below it.
    assert!(sheets > 3, "{sheets} sheets");
    assert!((sheets - 1) * 3000 / COUNT < 60, "{sheets} sheets");
    // #eee
    let ground = Regex::new(r"\.933\d* \.933\d* \.933\d* rg").unwrap();
    let heads = drawings(&pdf)
        .into_iter()
        .filter(|drawing| ground.is_match(drawing))
        .count();
    assert!(
        heads == sheets || heads + 1 == sheets,
        "{heads} heads on {sheets} sheets"
    );
}

async fn shows_all(browser: &Browser) {
    eventually("all rows are shown", SOON, async || {
        let shown = browser
            .run("return document.getElementById('shown').value")
            .await;
        if shown == "500 of 500 shown" {
            Ok(())
        } else {
            Err(shown)
        }
    })
    .await;
}

/// The streams of a PDF that draw text.
fn drawings(pdf: &[u8]) -> Vec<Vec<u8>> {
    let begin = Regex::new(r"stream\r?\n").unwrap();
    let mut drawings = Vec::new();
    for found in begin.find_iter(pdf) {
        let mut drawing = Vec::new();
        let read = ZlibDecoder::new(&pdf[found.end()..]).read_to_end(&mut drawing);
        if read.is_ok() && drawing.windows(3).any(|it| it == b"BT\n") {
            drawings.push(drawing);
        }
    }
    drawings
}
