//! The page for auditors in a real browser: what is asked for is shown, and no value is anything but text.

mod browser;
mod paper;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::Run;
use crate::support::eventually;
use crate::support::supervise::Scratch;
use browser::{Browser, skipped};

const SOON: Duration = Duration::from_secs(20);

/// What somebody might write who wants to run something in an auditor's browser.
const EVIL: [&str; 4] = [
    "<script>document.title = 'owned'</script>",
    "\"><img src=x onerror=\"document.title='owned'\">",
    "</td></tr></table><iframe srcdoc='<script>parent.document.title=1</script>'>",
    "' onmouseover='document.title=1",
];

/// The text of an aws-auth: an administrator, nodes, a user, an account, and everything evil as username and groups.
fn aws_auth() -> String {
    let role = |name: &str, username: &str, groups: &[&str]| {
        json!({
            "rolearn": format!("arn:aws:iam::111122223333:role/{name}"), "username": username, "groups": groups,
        })
    };
    let mut roles = vec![
        role("Admin", "admin", &["system:masters"]),
        role("Developers", "dev:{{SessionName}}", &["developers"]),
        role(
            "Nodes",
            "system:node:{{EC2PrivateDNSName}}",
            &["system:bootstrappers", "system:nodes"],
        ),
        role("team/Dead", "dead", &[EVIL[0]]),
    ];
    roles.extend(EVIL.iter().enumerate().map(|(number, evil)| {
        let others: Vec<&str> = EVIL.iter().copied().filter(|other| other != evil).collect();
        role(&format!("Evil{number}"), evil, &others)
    }));
    let users = json!([{"userarn": "arn:aws:iam::111122223333:user/ann", "username": "ann", "groups": ["developers"]}]);
    let data = json!({
        "mapRoles": Value::from(roles).to_string(), "mapUsers": users.to_string(), "mapAccounts": "[\"444455556666\"]",
    });
    let metadata = json!({"name": "aws-auth", "namespace": "kube-system"});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}).to_string()
}

/// An access entry with a policy, as the AWS CLI prints both.
fn access_entries() -> String {
    let principal = "arn:aws:iam::111122223333:role/Operations";
    let entry = json!({"accessEntry": {
        "clusterName": "main", "principalArn": principal, "kubernetesGroups": [], "type": "STANDARD", "tags": {},
        "accessEntryArn": "arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/Operations/x",
        "createdAt": 1, "modifiedAt": 1, "username": "ops",
    }});
    let policies = json!({"clusterName": "main", "principalArn": principal, "associatedAccessPolicies": [{
        "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
        "accessScope": {"type": "cluster", "namespaces": []}, "associatedAt": 1, "modifiedAt": 1,
    }]});
    format!("{entry}\n{policies}\n")
}

/// Writes the page, and gives its URL.
fn page(folder: &Path) -> String {
    let (text, entries) = (folder.join("aws-auth.json"), folder.join("entries.json"));
    fs::write(&text, aws_auth()).unwrap();
    fs::write(&entries, access_entries()).unwrap();
    let arguments = [
        "access",
        "--aws-auth",
        text.to_str().unwrap(),
        "--access-entries",
        entries.to_str().unwrap(),
        "-o",
        "html",
    ];
    let ran = Run::new(arguments).run();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let page = folder.join("access.html");
    fs::write(&page, ran.stdout).unwrap();
    format!("file://{}", page.display())
}

/// The names of the principals whose rows are visible.
async fn visible(browser: &Browser) -> BTreeSet<String> {
    let script = "return [...document.querySelectorAll('#who tbody tr')].filter((row) => row.getClientRects().length > 0)
        .map((row) => row.querySelector('.mono').textContent)";
    let names = browser.run(script).await;
    let name = |arn: &Value| arn.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    names.as_array().unwrap().iter().map(name).collect()
}

/// Waits until exactly these rows are visible: the page hears of what was clicked a moment later.
async fn shows(browser: &Browser, expected: &[&str]) {
    let expected = names(expected);
    eventually("the rows that are asked for", SOON, async || {
        let found = visible(browser).await;
        if found == expected {
            Ok(())
        } else {
            Err(found)
        }
    })
    .await;
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const ALL: [&str; 10] = [
    "444455556666",
    "Admin",
    "Developers",
    "Evil0",
    "Evil1",
    "Evil2",
    "Evil3",
    "Nodes",
    "Operations",
    "ann",
];

#[tokio::test]
async fn page_filters_work_and_content_is_never_executed() {
    const NAME: &str = "cli::access_page::page_filters_work_and_content_is_never_executed";
    let Some(browser) = Browser::start().await else {
        return skipped(NAME);
    };
    let folder = Scratch::new();
    let url = page(folder.path());
    browser.open(&url).await;
    let shown = async || {
        browser
            .run("return document.getElementById('shown').value")
            .await
    };
    shows(&browser, &ALL).await;
    assert_eq!(shown().await, "10 of 10 shown");

    // Search: words in any order, of any column, in any case; by the keyboard alone.
    browser.press("/").await;
    browser.press("DEVELOPERS user").await;
    shows(&browser, &["ann"]).await;
    assert_eq!(shown().await, "1 of 10 shown");
    browser.clear("#search").await;
    browser.type_into("#search", "nobody of this name").await;
    shows(&browser, &[]).await;
    assert!(browser.is_displayed("#none").await);
    browser.clear("#search").await;

    // Filters, alone and together; the lists by the keyboard.
    browser.click("#administrators").await;
    shows(&browser, &["Admin", "Operations"]).await;
    browser.choose("#backend", "access entry").await;
    shows(&browser, &["Operations"]).await;
    browser.click("#administrators").await;
    browser.choose("#backend", "aws-auth").await;
    browser.choose("#kind", "node").await;
    shows(&browser, &["Nodes"]).await;
    browser.choose("#kind", "account").await;
    shows(&browser, &["444455556666"]).await;
    browser.choose("#kind", "any").await;
    browser.choose("#backend", "any").await;
    shows(&browser, &ALL).await;

    // What is evil stays text, in the order of the document.
    for evil in EVIL {
        browser.type_into("#search", evil).await;
        shows(&browser, &["Evil0", "Evil1", "Evil2", "Evil3"]).await;
        browser.clear("#search").await;
    }
    assert_eq!(
        browser.run("return document.title").await,
        "Principals with access to main"
    );
    let foreign = "return document.querySelectorAll('img, iframe, [onerror], [onmouseover], [style], link').length";
    assert_eq!(browser.run(foreign).await, 0);
    assert_eq!(browser.run("return document.scripts.length").await, 1);
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn page_works_without_scripts_in_dark_mode_and_in_print() {
    const NAME: &str = "cli::access_page::page_works_without_scripts_in_dark_mode_and_in_print";
    let Some(browser) = Browser::start().await else {
        return skipped(NAME);
    };
    let folder = Scratch::new();
    let url = page(folder.path());
    browser
        .command(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": true}),
        )
        .await;
    browser.open(&url).await;
    shows(&browser, &ALL).await;
    assert!(
        !browser.is_displayed("#tools").await,
        "what would do nothing is not shown"
    );

    browser
        .command(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": false}),
        )
        .await;
    browser.open(&url).await;
    assert!(browser.is_displayed("#tools").await);
    let ground = async || {
        browser
            .run("return getComputedStyle(document.body).backgroundColor")
            .await
    };
    let light = ground().await;
    let scheme =
        |value: &str| json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
    browser
        .command("Emulation.setEmulatedMedia", scheme("dark"))
        .await;
    assert_ne!(ground().await, light);
    browser
        .command("Emulation.setEmulatedMedia", json!({"media": "print"}))
        .await;
    assert!(!browser.is_displayed("#tools").await);
    shows(&browser, &ALL).await;
    assert_eq!(browser.console().await, Vec::<String>::new());

    // The page's own policy stops what would get past the escaping.
    let inject = "const script = document.createElement('script'); script.textContent = \"document.title = 'owned'\";
        document.body.append(script); return document.title";
    assert_eq!(browser.run(inject).await, "Principals with access to main");
    let console = browser.console().await;
    assert!(
        console
            .iter()
            .any(|line| line.contains("Content Security Policy")),
        "{console:?}"
    );
}

#[tokio::test]
async fn columns_sort_and_filter_and_a_phone_gets_cards() {
    const NAME: &str = "cli::access_page::columns_sort_and_filter_and_a_phone_gets_cards";
    let Some(browser) = Browser::start().await else {
        return skipped(NAME);
    };
    let folder = Scratch::new();
    let url = page(folder.path());
    browser.open(&url).await;
    shows(&browser, &ALL).await;
    let order = async || -> Vec<String> {
        let script = "return [...document.querySelectorAll('#who tbody tr')].map((row) => row.cells[0].textContent)";
        let names = browser.run(script).await;
        let names = names.as_array().unwrap().iter();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    let mut sorted = order().await;
    sorted.sort_by_key(|name| name.to_lowercase());
    for expected in ["ascending", "descending"] {
        browser.click("#who thead th:first-child .sort").await;
        eventually("the rows are sorted", SOON, async || {
            let said = "return document.querySelector('#who thead th').getAttribute('aria-sort')";
            let (said, found) = (browser.run(said).await, order().await);
            if said == expected && found.first() == sorted.first() {
                Ok(())
            } else {
                Err((said, found))
            }
        })
        .await;
        sorted.reverse();
    }

    // A filter of one column looks at that column only.
    browser
        .type_into("#who thead th:nth-child(2) input", "developers")
        .await;
    shows(&browser, &["Developers", "ann"]).await;
    browser
        .type_into("#who thead th:nth-child(1) input", "user/")
        .await;
    shows(&browser, &["ann"]).await;
    browser.clear("#who thead th:nth-child(1) input").await;
    browser.clear("#who thead th:nth-child(2) input").await;
    shows(&browser, &ALL).await;
    let laptop = json!({"width": 1300, "height": 844, "deviceScaleFactor": 1, "mobile": false});
    browser
        .command("Emulation.setDeviceMetricsOverride", laptop)
        .await;
    let hidden = "const box = document.querySelector('#who').parentElement; return box.scrollWidth - box.clientWidth";
    eventually("every column is visible", SOON, async || {
        let hidden = browser.run(hidden).await;
        if hidden == 0 { Ok(()) } else { Err(hidden) }
    })
    .await;
    let sizes = "return [...new Set([...document.querySelectorAll('#who tbody *')]
        .filter((it) => [...it.childNodes].some((node) => node.nodeType === 3))
        .map((it) => getComputedStyle(it).fontSize))].length";
    assert_eq!(browser.run(sizes).await, 1, "one size in all columns");

    let phone = json!({"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true});
    browser
        .command("Emulation.setDeviceMetricsOverride", phone)
        .await;
    eventually("nothing is wider than the phone", SOON, async || {
        let wide = browser
            .run("return document.documentElement.scrollWidth")
            .await;
        let head = browser.is_displayed("#who thead").await;
        if wide.as_u64() <= Some(390) && !head {
            Ok(())
        } else {
            Err((wide, head))
        }
    })
    .await;
    shows(&browser, &ALL).await;
    let label =
        "return getComputedStyle(document.querySelector('#who tbody td'), '::before').content";
    assert_eq!(browser.run(label).await, "\"Username and groups\"");
    assert_eq!(browser.console().await, Vec::<String>::new());
}
