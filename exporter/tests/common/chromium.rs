//! A real Chromium, driven by its DevTools protocol over a pair of pipes.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _, pipe},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::Command,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::{Server, TempDir};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_millis(100);

/// A browser with one page, closed when this is dropped.
pub struct Chromium {
    commands: PipeWriter,
    messages: Receiver<Value>,
    /// What the page did that nobody has looked at.
    events: VecDeque<Value>,
    session: Value,
    number: u64,
    _process: Server,
}

/// Where the browser expects its pipes: 3 to read, 4 to write.
fn place_pipes(reader: RawFd, writer: RawFd) -> std::io::Result<()> {
    let call = |result: i32| match result {
        -1 => Err(std::io::Error::last_os_error()),
        result => Ok(result),
    };
    // Out of the way first: one may be where the other has to be.
    // SAFETY: both are open, and fcntl and dup2 only deal with numbers.
    let (reader, writer) = unsafe {
        (
            call(libc::fcntl(reader, libc::F_DUPFD_CLOEXEC, 20))?,
            call(libc::fcntl(writer, libc::F_DUPFD_CLOEXEC, 20))?,
        )
    };
    // SAFETY: the same; 3 and 4 are the pipes themselves or open in the parent already, for pipes take the lowest numbers.
    unsafe {
        call(libc::dup2(reader, 3))?;
        call(libc::dup2(writer, 4))?;
    }
    Ok(())
}

/// Messages end with a zero.
fn read_messages(pipe: PipeReader) -> Receiver<Value> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut message = Vec::new();
        while pipe.read_until(0, &mut message).is_ok_and(|length| length > 0) {
            let value = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message)).unwrap();
            if sender.send(value).is_err() {
                return;
            }
            message.clear();
        }
    });
    receiver
}

// === impl Chromium ===

impl Chromium {
    /// A browser with an empty page.
    pub fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let (their_commands, commands) = pipe().unwrap();
        let (replies, their_replies) = pipe().unwrap();
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", dir.path().join("profile").display()));
        let (reader, writer) = (their_commands.as_raw_fd(), their_replies.as_raw_fd());
        // SAFETY: between fork and exec the closure only calls fcntl and dup2, which are async-signal-safe.
        unsafe { command.pre_exec(move || place_pipes(reader, writer)) };
        let process = Server::start(command, dir, 0).unwrap();
        let mut browser = Self {
            commands,
            messages: read_messages(replies),
            events: VecDeque::new(),
            session: Value::Null,
            number: 0,
            _process: process,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        );
        browser.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method of the protocol, and gives its result.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let id = self.number;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        self.commands.write_all(message.to_string().as_bytes()).unwrap();
        self.commands.write_all(&[0]).unwrap();
        let end = Instant::now() + LIMIT;
        loop {
            let message = match self
                .messages
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("{method}: no answer within {LIMIT:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("{method}: the browser has ended"),
            };
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push_back(message);
        }
    }

    /// Opens a page anew, also if only its fragment is another, and waits until it is loaded.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": "about:blank"}));
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.wait_for("document.readyState === 'complete'");
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true}),
        );
        let failure = &answer["exceptionDetails"];
        assert!(failure.is_null(), "{expression}: {failure}");
        answer["result"]["value"].clone()
    }

    /// The text of the first element that a selector finds.
    pub fn text(&mut self, selector: &str) -> String {
        let selector = Value::from(selector);
        let text = self.value(&format!("document.querySelector({selector})?.textContent"));
        text.as_str()
            .unwrap_or_else(|| panic!("nothing is {selector}"))
            .to_owned()
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let end = Instant::now() + LIMIT;
        while self.value(&format!("Boolean({expression})")) != true {
            if Instant::now() >= end {
                let page = self.value("document.body.innerText");
                panic!(
                    "not within {LIMIT:?}: {expression}\n{}",
                    page.as_str().unwrap_or_default()
                );
            }
            thread::sleep(PERIOD);
        }
    }

    /// Makes the screen so large.
    pub fn resize(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}),
        );
    }

    /// What the reader's system prefers: `("prefers-color-scheme", "dark")`.
    pub fn prefer(&mut self, features: &[(&str, &str)]) {
        let features: Vec<Value> = features
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Presses a key that writes nothing.
    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            self.call(
                "Input.dispatchKeyEvent",
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}),
            );
        }
    }

    /// Writes a text, as if it were typed, into what has the focus.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// A picture of what is on the screen, as a file.
    pub fn picture(&mut self, file: &Path) {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let answer = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let bytes = STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        File::create(file).unwrap().write_all(&bytes).unwrap();
    }

    /// What has happened since this was last asked: errors, complaints and dialogs of the page.
    pub fn complaints(&mut self) -> Vec<String> {
        let methods = [
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        ];
        self.taken(&methods).iter().map(Value::to_string).collect()
    }

    /// The addresses that the page has asked for since this was last asked.
    pub fn asked(&mut self) -> Vec<String> {
        let events = self.taken(&["Network.requestWillBeSent"]);
        let urls = events.iter().map(|event| event["request"]["url"].as_str().unwrap());
        urls.map(str::to_owned).collect()
    }

    /// Takes the events of these methods.
    fn taken(&mut self, methods: &[&str]) -> Vec<Value> {
        // What has come by now is behind the answer to this.
        self.value("0");
        let (taken, rest): (Vec<Value>, Vec<Value>) = self
            .events
            .drain(..)
            .partition(|event| methods.iter().any(|method| event["method"] == *method));
        self.events = rest.into();
        taken.into_iter().map(|event| event["params"].clone()).collect()
    }
}
