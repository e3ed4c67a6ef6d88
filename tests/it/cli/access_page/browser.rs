//! A headless Chromium, driven by `WebDriver` (<https://www.w3.org/TR/webdriver2/>).

use std::env;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::eventually;
use crate::support::supervise::{Scratch, Supervised};

/// A browser starts in a second; a machine that is busy building takes longer.
const START_DEADLINE: Duration = Duration::from_mins(1);

/// The key under which `WebDriver` hands out elements (`WebDriver`, section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Runs the browser, and ends it when the driver has ended, however that ended: the driver is killed with this process, and cannot
/// end its own browser then.
const WRAPPER: &str = r#"#!/bin/sh
driver=$PPID
"$CHROMIUM" "$@" &
browser=$!
(while kill -0 "$driver" 2>/dev/null; do sleep 0.2; done; kill -s KILL "$browser") &
watcher=$!
wait "$browser"
kill "$watcher"
"#;

/// A browser with one window. It ends when this value is dropped.
///
/// The fields stand in the order in which they must go.
pub(super) struct Browser {
    port: u16,
    session: String,
    _driver: Supervised,
    _folder: Scratch,
}

/// Says on standard error that a test was skipped, which libtest does not keep back, and why.
pub(super) fn skipped(test: &str) {
    let line = format!(
        "skipped: {test} (chromium is not installed; apt-get install chromium chromium-driver)\n"
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn installed(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let all = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut there = all.filter(|path| path.is_file());
    there.next()
}

impl Browser {
    /// Starts one; `None` where Chromium or its driver is not installed.
    pub(super) async fn start() -> Option<Self> {
        let chromium = installed(&["chromium", "chromium-browser", "google-chrome"])?;
        let driver = installed(&["chromedriver"])?;
        let folder = Scratch::new();
        let wrapper = folder.path().join("browser");
        fs::write(&wrapper, WRAPPER).unwrap();
        fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().as_os_str().to_owned();
        let environment = [
            ("HOME".to_owned(), home),
            ("CHROMIUM".to_owned(), chromium.into_os_string()),
        ];
        let log = folder.path().join("log");
        let driver = Supervised::spawn(&driver, ["--port=0"], environment, &log);
        let port = eventually("the driver listens", START_DEADLINE, async || {
            let log = driver.log();
            let port = log.rsplit_once("on port ").and_then(|(_, rest)| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u16>().ok()
            });
            port.filter(|port| *port != 0).ok_or(log)
        })
        .await;
        let profile = format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        );
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1400,1000",
            &profile,
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": wrapper, "args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let started = ask(port, Method::POST, "/session", Some(&capabilities)).await;
        let session = started["sessionId"].as_str();
        let session = session
            .unwrap_or_else(|| panic!("no browser: {started}\n{}", driver.log()))
            .to_owned();
        Some(Self {
            port,
            session,
            _driver: driver,
            _folder: folder,
        })
    }

    async fn ask(&self, command: &str, body: Value) -> Value {
        let path = format!("/session/{}/{command}", self.session);
        let answer = ask(self.port, Method::POST, &path, Some(&body)).await;
        assert!(answer["error"].is_null(), "{command} {body}: {answer}");
        answer
    }

    /// Opens a page, and waits until it is loaded.
    pub(super) async fn open(&self, url: &str) {
        self.ask("url", json!({ "url": url })).await;
    }

    /// What a script returns.
    pub(super) async fn run(&self, script: &str) -> Value {
        self.ask("execute/sync", json!({"script": script, "args": []}))
            .await
    }

    /// A command of the `DevTools` protocol.
    pub(super) async fn command(&self, command: &str, params: Value) {
        self.ask(
            "goog/cdp/execute",
            json!({"cmd": command, "params": params}),
        )
        .await;
    }

    /// The page as a PDF, on the paper that the page asks for.
    pub(super) async fn pdf(&self) -> Vec<u8> {
        let params = json!({"preferCSSPageSize": true, "printBackground": true});
        let printed = self
            .ask(
                "goog/cdp/execute",
                json!({"cmd": "Page.printToPDF", "params": params}),
            )
            .await;
        let data = printed["data"].as_str().expect("a PDF");
        BASE64_STANDARD.decode(data).expect("base64")
    }

    async fn element(&self, selector: &str) -> String {
        let found = self
            .ask(
                "element",
                json!({"using": "css selector", "value": selector}),
            )
            .await;
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Clicks, as a mouse does.
    pub(super) async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.ask(&format!("element/{element}/click"), json!({}))
            .await;
    }

    /// Types into an element.
    pub(super) async fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.ask(&format!("element/{element}/value"), json!({ "text": text }))
            .await;
    }

    /// Empties a field, as a person does.
    pub(super) async fn clear(&self, selector: &str) {
        // Control and A, then Backspace (WebDriver, section 17.4.2).
        self.type_into(selector, "\u{e009}a\u{e000}\u{e003}").await;
    }

    /// Chooses from a list with the arrow keys.
    pub(super) async fn choose(&self, selector: &str, label: &str) {
        let labels = format!(
            "return [...document.querySelector({selector:?}).options].map((option) => option.label)"
        );
        let labels = self.run(&labels).await;
        let labels = labels.as_array().expect("a list");
        let number = labels.iter().position(|found| found == label);
        let number = number.unwrap_or_else(|| panic!("{label} is not among {labels:?}"));
        // Home, then Down.
        let keys = format!("\u{e011}{}", "\u{e015}".repeat(number));
        self.type_into(selector, &keys).await;
    }

    /// Presses keys, wherever the focus is.
    pub(super) async fn press(&self, keys: &str) {
        let key = |kind: &str, key: char| json!({"type": kind, "value": key.to_string()});
        let presses: Vec<Value> = keys
            .chars()
            .flat_map(|c| [key("keyDown", c), key("keyUp", c)])
            .collect();
        self.ask(
            "actions",
            json!({"actions": [{"type": "key", "id": "keyboard", "actions": presses}]}),
        )
        .await;
    }

    /// Whether a person sees the element.
    pub(super) async fn is_displayed(&self, selector: &str) -> bool {
        let seen =
            format!("return document.querySelector({selector:?}).getClientRects().length > 0");
        self.run(&seen).await == json!(true)
    }

    /// What the browser wrote to its console since the last look.
    pub(super) async fn console(&self) -> Vec<String> {
        let lines = self.ask("se/log", json!({"type": "browser"})).await;
        let lines = lines.as_array().expect("a list").iter();
        lines
            .map(|line| line["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

/// One request to the driver. The value that it answers with, also where that is an error.
async fn ask(port: u16, method: Method, path: &str, body: Option<&Value>) -> Value {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", format!("127.0.0.1:{port}"))
        .header("Content-Type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    connection.abort();
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    answer["value"].clone()
}
