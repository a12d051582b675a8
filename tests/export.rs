//! Where reports go besides files that were named plainly: the receiver of metrics, GitHub's job summary, a collector's
//! directory. Runs `poolpick` on programs that do next to nothing.

use opentelemetry_proto::tonic::metrics::v1::MetricsData;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// `poolpick` without what the surroundings say.
fn poolpick(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolpick"));
    command.args(arguments).current_dir(folder);
    for name in std::env::vars().map(|(name, _)| name) {
        if name.starts_with("OTEL_")
            || name.starts_with("SSL_")
            || name.starts_with("GITHUB_")
            || name.to_lowercase().ends_with("_proxy")
        {
            command.env_remove(name);
        }
    }
    command
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The head of a request in lower case, and its body.
type Request = (String, Vec<u8>);

/// Takes one request and answers it.
fn receiver(answer: &'static str) -> (String, JoinHandle<Request>) {
    let (address, served) = receiver_of(vec![answer]);
    (address, std::thread::spawn(move || served.join().expect("a request").remove(0)))
}

/// Takes one request after the other, as many as there are answers.
fn receiver_of(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let served = std::thread::spawn(move || answers.into_iter().map(|answer| served(&listener, answer)).collect());
    (address, served)
}

fn served(listener: &TcpListener, answer: &str) -> Request {
    let (mut stream, _) = listener.accept().expect("a request");
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).expect("the request");
        assert!(read > 0, "the request ends early: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..read]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        if bytes.len() >= end + 4 + length.expect("a length") {
            stream.write_all(answer.as_bytes()).expect("the answer");
            return (head, bytes.split_off(end + 4));
        }
    }
}

/// A saved report with a sampled task, so that it has spans.
fn with_spans(folder: &Path) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/misrouted.json");
    let mut report: Value = serde_json::from_str(&fs::read_to_string(golden).expect("a golden")).expect("JSON");
    report["stages"][0]["tasks"]["sampled"] = json!([{
        "start_seconds": 0.5, "queue_seconds": 0.25, "wall_seconds": 0.125, "failed": true, "process_id": 41, "thread_id": 42,
    }]);
    fs::write(folder.join("spans.json"), report.to_string()).expect("own folder");
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
const ECHO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 78\r\nconnection: close\r\n\r\n\
                    {\"partialSuccess\":{\"rejectedSpans\":\"1\",\"errorMessage\":\"pass-word is no good\"}}";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 60\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const AT_ONCE: &str =
    "HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const NO_GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const WRONG: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[test]
fn metrics_are_sent_to_where_the_variables_say() {
    let (folder, (address, served)) = (folder(), receiver(TAKEN));
    let output = poolpick(folder.path(), &["profile", "-q", "--export", "otlp=env", "--", "true"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b")
        .env("OTEL_SERVICE_NAME", "etl")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let (head, body) = served.join().expect("a request");
    assert!(head.starts_with("post /v1/metrics http/1.1"), "{head}");
    assert!(head.contains("content-type: application/json") && head.contains("x-key: a b"), "{head}");
    let data: MetricsData = serde_json::from_slice(&body).expect("OTLP");
    let text = format!("{data:?}");
    assert!(text.contains("StringValue(\"etl\")") && text.contains("poolpick.run.duration"), "{text}");
    // The program is what a pipeline is called that nobody named.
    assert!(text.contains("StringValue(\"true\")"), "{text}");
    assert!(!folder.path().join("env").exists());
}

#[test]
fn what_does_not_arrive_is_a_failure_unless_the_command_failed_first() {
    for (command, expected) in [("exit 0", 125), ("exit 3", 3)] {
        let (folder, (address, served)) = (folder(), receiver(BUSY));
        let output = poolpick(folder.path(), &["profile", "-q", "--export", "otlp=env", "--", "sh", "-c", command])
            .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", format!("{address}/in"))
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
        let said = stderr(&output);
        assert!(
            said.contains("503 Service Unavailable and asks for 60 seconds")
                && said.contains("/in`")
                && said.contains("hint: `--export otlp=FILE`"),
            "{said}"
        );
        assert!(served.join().expect("a request").0.starts_with("post /in "));
    }
}

/// What sends the saved report that has spans.
fn sends_spans(folder: &Path) -> Command {
    with_spans(folder);
    poolpick(folder, &["report", "spans.json", "--export", "otlp=env", "--output", "table"])
}

#[test]
fn each_signal_goes_to_its_own_host_with_its_own_headers() {
    let folder = folder();
    let ((metrics, at_metrics), (traces, at_traces)) = (receiver(TAKEN), receiver(TAKEN));
    let output = sends_spans(folder.path())
        .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", format!("{metrics}/in"))
        .env("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "api-key=of-metrics")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/in", traces.replace("//", "//u:of-traces@")))
        .output()
        .expect("it runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let (head, body) = at_metrics.join().expect("a request");
    assert!(head.contains("api-key: of-metrics") && !head.contains("authorization"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("resourceMetrics"));
    let (head, body) = at_traces.join().expect("a request");
    assert!(head.contains("authorization: basic") && !head.contains("api-key"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("resourceSpans"));
}

#[test]
fn spans_without_an_address_are_not_dropped_in_silence() {
    let folder = folder();
    for (unsaid, (address, served)) in [("otlp", receiver(TAKEN)), ("none", receiver(TAKEN))] {
        let output = sends_spans(folder.path())
            .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", address)
            .env("OTEL_TRACES_EXPORTER", unsaid)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let said = stderr(&output);
        assert_eq!(said.starts_with("poolpick: warning: the spans are not sent"), unsaid == "otlp", "{said}");
        served.join().expect("a request");
    }
}

#[test]
fn each_signal_is_tried_and_its_failure_told_without_credentials() {
    let folder = folder();
    let ((metrics, at_metrics), (traces, at_traces)) = (receiver(ECHO), receiver(ECHO));
    let output = sends_spans(folder.path())
        .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", metrics.replace("//", "//u:pass-word@"))
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer pass-word")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    let said = stderr(&output);
    let reason = "it refused 1 values: … is no good";
    assert!(said.contains(&format!("the metrics could not be sent to `{metrics}`: {reason}")), "{said}");
    assert!(said.contains(&format!("the spans could not be sent to `{traces}`: {reason}")), "{said}");
    assert!(!said.contains("pass-word"), "{said}");
    at_metrics.join().expect("a request");
    at_traces.join().expect("a request");
}

#[test]
fn what_may_pass_is_tried_again_with_the_same_body() {
    let folder = folder();
    let (address, served) = receiver_of(vec![AT_ONCE, NO_GATEWAY, TAKEN]);
    let output = poolpick(folder.path(), &["profile", "-q", "--export", "otlp=env", "--", "true"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
        .output()
        .expect("it runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let requests = served.join().expect("requests");
    assert!(requests.iter().all(|(_, body)| !body.is_empty() && *body == requests[0].1));
}

#[test]
fn what_will_not_pass_is_not_tried_again() {
    // Nobody listens behind a receiver's last request: another try would be refused, and told.
    for (answers, said) in [
        (vec![WRONG], "it answered 400 Bad Request; hint"),
        (vec![BUSY], "it answered 503 Service Unavailable and asks for 60 seconds; hint"),
        (vec![AT_ONCE; 5], "it answered 429 Too Many Requests and asks for 0 seconds, tried 5 times; hint"),
    ] {
        let (folder, (address, served)) = (folder(), receiver_of(answers));
        let output = poolpick(folder.path(), &["profile", "-q", "--export", "otlp=env", "--", "true"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        served.join().expect("requests");
    }
}

#[test]
fn tries_end_within_the_time_of_an_export() {
    let folder = folder();
    // The port was free a moment ago; nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    // Whoever listens here never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    for (address, said) in [
        (free, "Connection refused (os error 111), tried "),
        (silent.local_addr().expect("an address"), "it did not answer in time; hint"),
    ] {
        let began = Instant::now();
        let output = poolpick(folder.path(), &["profile", "-q", "--export", "otlp=env", "--", "true"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
}

#[test]
fn a_verdict_stands_whether_or_not_it_was_heard_of() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/misrouted.json");
    let golden = golden.to_str().expect("UTF-8");
    let folder = folder();
    let check = |words: &[&str]| {
        let (address, served) = receiver(WRONG);
        let words = [&["check", "--quiet", "--export", "otlp=env", "--from", golden], words].concat();
        let mut command = poolpick(folder.path(), &words);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &address).env("OTEL_TRACES_EXPORTER", "none");
        let output = command.output().expect("it runs");
        served.join().expect("a request");
        assert!(stderr(&output).contains("error: the metrics could not be sent"), "{output:?}");
        output.status.code()
    };
    assert_eq!(check(&[]), Some(1), "misrouted");
    check(&["--baseline", "known.json", "--update-baseline"]);
    assert_eq!(check(&["--baseline", "known.json"]), Some(125), "what would pass is not known to have arrived");
    // A file that cannot be written is another matter, whatever becomes of the metrics.
    let output = poolpick(folder.path(), &["check", "--from", golden, "--export", "otlp=env", "--output", "/dev/full"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(stderr(&output).contains("/dev/full") && stderr(&output).contains("the metrics"), "{output:?}");
}

#[test]
fn a_gate_sends_the_spans_of_its_stages_and_they_stay_the_same_trace() {
    let folder = folder();
    let manifest = "[stages.waits]\ncommand = [\"sleep\", \"0.2\"]\nexecutor = \"serial\"\n\
                    [stages.no]\ncommand = [\"false\"]\nexecutor = \"serial\"\n";
    fs::write(folder.path().join("poolpick.toml"), manifest).expect("own folder");
    let (address, served) = receiver_of(vec![TAKEN, TAKEN]);
    let words = ["check", "-q", "--runs", "2", "--export", "otlp=env", "--export", "json=a.json", "--manifest"];
    let output = poolpick(folder.path(), &[&words[..], &["poolpick.toml"]].concat())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let requests = served.join().expect("requests");
    assert!(requests[0].0.starts_with("post /v1/metrics ") && requests[1].0.starts_with("post /v1/traces "));
    let saved: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("a.json")).expect("text")).expect("JSON");
    for (result, runs) in saved["results"].as_array().expect("results").iter().zip([2, 1]) {
        assert_eq!(result["runs"], runs);
        let times = ["started_at", "last_run_at", "ended_at"].map(|key| result[key].as_str().expect("an instant"));
        assert!(times.is_sorted() && (times[0] < times[1]) == (runs > 1), "{times:?}");
    }
    let traces: Value = serde_json::from_slice(&requests[1].1).expect("OTLP");
    let spans = traces["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans");
    let nanos = |span: &Value, key: &str| span[key].as_str().expect("text").parse::<u64>().expect("a number");
    let [whole, waits, no] = spans.as_slice() else { panic!("three spans: {traces}") };
    assert!(nanos(waits, "endTimeUnixNano") - nanos(waits, "startTimeUnixNano") >= 400_000_000, "{waits}");
    assert!(nanos(no, "startTimeUnixNano") >= nanos(waits, "endTimeUnixNano"), "one after the other: {traces}");
    assert!(nanos(whole, "endTimeUnixNano") >= nanos(no, "endTimeUnixNano"), "{traces}");
    assert_eq!((&waits["status"]["code"], &no["status"]["code"]), (&json!(1), &json!(2)));
    let again = poolpick(folder.path(), &["report", "a.json", "--format", "otlp"]).output().expect("it runs");
    let lines: Vec<&[u8]> = again.stdout.split(|&byte| byte == b'\n').collect();
    assert_eq!((lines[0], lines[1]), (&requests[0].1[..], &requests[1].1[..]), "sent and saved are one");
}

/// Of an authority that nobody knows.
const SOME_AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBbTCCAROgAwIBAgIUNIr8Tyocts2jNfnKdhyY8W5UOPwwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBYTAeFw0yNjExMjgxMDI0MzlaFw0zNjExMjUxMDI0MzlaMAwx
CjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATQB/KbWdtnaOZ1
m70LQE4+aXYrPLaFEPNl4J717SjlF9Y07NhWrR/4i2TiqdP9N/6C4FOGrP1EvH6l
rppNdo6Do1MwUTAdBgNVHQ4EFgQU8HQVH4er1I5i0Xy8IwklAf/n+5MwHwYDVR0j
BBgwFoAU8HQVH4er1I5i0Xy8IwklAf/n+5MwDwYDVR0TAQH/BAUwAwEB/zAKBggq
hkjOPQQDAgNIADBFAiEAi1iacWR4UOW4q+hj3vh40o9owilyvSPweaHNlDUJotMC
IBaLYcVOCyRSf95SJjEsp1T5gZ8DD90+utZHK5NdKEHe
-----END CERTIFICATE-----
";

#[test]
fn a_proxy_is_asked_for_what_is_encrypted_and_for_nothing_else() {
    let folder = folder();
    fs::write(folder.path().join("ca.pem"), SOME_AUTHORITY).expect("own folder");
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = proxy.local_addr().expect("an address");
    let asked = std::thread::spawn(move || {
        let (stream, _) = proxy.accept().expect("a request");
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).expect("text") > 0, "{head}");
        }
        stream.get_mut().write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").expect("an answer");
        head
    });
    let sends = |endpoint: &str| {
        let mut command = poolpick(folder.path(), &["profile", "-q", "--export", "otlp=env", "--", "true"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem");
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=pass-word");
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
            command.env(name, format!("http://u:pass-word@{address}"));
        }
        command.output().expect("it runs")
    };
    let (plain, served) = receiver(TAKEN);
    let output = sends(&plain);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(served.join().expect("a request").0.starts_with("post /v1/metrics"));
    let output = sends("https://collector.invalid:4318");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    let said = stderr(&output);
    assert!(said.contains("407") && !said.contains("pass-word"), "{said}");
    let head = asked.join().expect("a request");
    assert!(head.starts_with("CONNECT collector.invalid:4318 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic ") && !head.contains("pass-word"), "{head}");
}

/// A TLS server that takes one export and prints its path and its key; its certificate is of an authority of its own.
const TLS_SERVER: &str = r#"
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        print(self.path, self.headers["x-key"], body[:18].decode(), flush=True)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *words):
        pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
class Server(http.server.HTTPServer):
    timeout = 30
    def get_request(self):
        stream, address = self.socket.accept()
        return context.wrap_socket(stream, server_side=True), address
    def handle_error(self, *words):
        pass
server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
for _ in range(3):
    server.handle_request()
"#;

/// An authority's certificate in `ca.pem`, and a server's by it in `server.pem`; or why there are none.
const AUTHORITY: &str = r#"set -e
quiet() { "$@" >log 2>&1 || { cat log >&2; exit 1; }; }
quiet openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
quiet openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr
printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n' > names
quiet openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem
"#;

/// A process that is killed when the test ends, however it does.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn tls_is_spoken_with_whom_the_authority_vouches_for_and_with_nobody_else() {
    let folder = folder();
    let made = Command::new("sh").args(["-c", AUTHORITY]).current_dir(folder.path()).output().expect("sh runs");
    let able = Command::new("python3").args(["-c", "import ssl"]).output().is_ok_and(|output| output.status.success());
    if !made.status.success() || !able {
        eprintln!("skipped: no openssl to make a certificate with, or no python3 with ssl: {}", stderr(&made));
        return;
    }
    let server = Command::new("python3")
        .args(["-c", TLS_SERVER])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut server = Served(server.expect("python3 was there"));
    let mut lines = BufReader::new(server.0.stdout.take().expect("piped")).lines();
    let port = lines.next().expect("a port").expect("text");
    let sends = |certificate: Option<&str>| {
        let mut command = poolpick(folder.path(), &["profile", "-q", "--export", "otlp=env", "--", "true"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://127.0.0.1:{port}"));
        command.env("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-key=k");
        command.envs(certificate.map(|file| ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", file)));
        // What the system trusts must be there, and not be the authority of this test.
        command.env("SSL_CERT_FILE", folder.path().join("other.pem"));
        command.output().expect("it runs")
    };
    fs::copy(folder.path().join("server.pem"), folder.path().join("other.pem")).expect("own folder");
    let output = sends(None);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(stderr(&output).contains("its certificate is not trusted"), "{}", stderr(&output));
    let output = sends(Some("ca.pem"));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(lines.next().expect("a line").expect("text"), "/v1/metrics k {\"resourceMetrics\"");
}

#[test]
fn certificates_that_cannot_be_used_are_told_before_the_run() {
    let folder = folder();
    fs::write(folder.path().join("empty.pem"), "").expect("own folder");
    for (name, file, part) in [
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "empty.pem",
            "`empty.pem`, which `OTEL_EXPORTER_OTLP_CERTIFICATE` names, holds no",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
            "no.pem",
            "`no.pem`, which `OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE` names",
        ),
        ("SSL_CERT_FILE", "no.pem", "no certificates are installed"),
    ] {
        let mut command = poolpick(folder.path(), &["profile", "-q", "--export", "otlp=env", "--", "touch", "ran"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        command.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c:4318");
        let output = command.env(name, file).output().expect("it runs");
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(stderr(&output).contains(part) && stderr(&output).contains("hint: "), "{}", stderr(&output));
        assert!(!folder.path().join("ran").exists());
    }
}

#[test]
fn without_a_usable_endpoint_the_command_is_not_run() {
    for (endpoint, part) in
        [(None, "no endpoint"), (Some("ftp://c:4318"), "no address"), (Some("localhost"), "no address")]
    {
        let folder = folder();
        let mut command = poolpick(folder.path(), &["profile", "-q", "--export", "otlp=env", "--", "touch", "ran"]);
        command.envs(endpoint.map(|endpoint| ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)));
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(125));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
        assert!(!folder.path().join("ran").exists());
    }
}

#[test]
fn a_collector_finds_whole_files_that_it_may_read() {
    let folder = folder();
    let output =
        poolpick(folder.path(), &["profile", "-q", "--export", "prometheus=a.prom", "--pipeline", "a b\"\n", "--"])
            .arg("true")
            .output()
            .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let names: Vec<_> =
        fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
    assert_eq!(names, ["a.prom"]);
    let path = folder.path().join("a.prom");
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o644);
    let text = fs::read_to_string(&path).expect("text");
    assert!(text.contains(r#"poolpick_run_exit_code{poolpick_pipeline_name="a b\"\\n"} 0"#), "{text}");
}

#[test]
fn a_report_keeps_the_mode_of_its_file_and_a_new_one_has_what_the_user_allows() {
    let folder = folder();
    let before = folder.path().join("kept.json");
    fs::write(&before, "").expect("a file");
    fs::set_permissions(&before, fs::Permissions::from_mode(0o640)).expect("its own");
    let script = format!(
        "umask 077; exec '{}' profile -q --export json=kept.json --export json=new.json --export prometheus=a.prom -- true",
        env!("CARGO_BIN_EXE_poolpick")
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let modes = ["kept.json", "new.json", "a.prom"]
        .map(|name| fs::metadata(folder.path().join(name)).expect("a file").permissions().mode() & 0o777);
    assert_eq!(modes, [0o640, 0o600, 0o644]);
}

#[test]
fn stdout_by_another_name_is_stdout() {
    let folder = folder();
    fs::write(folder.path().join("poolpick.toml"), "[stages.a]\ncommand = [\"true\"]\n").expect("a file");
    let run = |script: &str| {
        let script = script.replace("poolpick", &format!("'{}'", env!("CARGO_BIN_EXE_poolpick")));
        Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().expect("it runs")
    };
    for script in [
        "poolpick check --format json --export jsonl=/dev/stdout | cat; false",
        "poolpick check -q --export json=/dev/stdout --export jsonl=- >all.txt",
        "poolpick check --export json=all.txt >all.txt",
    ] {
        let output = run(script);
        assert!(stderr(&output).contains("two reports would go to stdout"), "{script}: {output:?}");
        assert!(!output.status.success());
    }
    let output = run("poolpick check -q --export json=/dev/stdout >all.txt; cat all.txt");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("{\n"), "{output:?}");
    let output = run("poolpick check --export json=/dev/null >/dev/null");
    assert!(!stderr(&output).contains("two reports"), "{output:?}");
}

#[test]
fn on_github_the_report_is_added_to_the_job_summary() {
    let folder = folder();
    let summary = folder.path().join("summary.md");
    let run = |actions: &str| {
        let mut command = poolpick(folder.path(), &["profile", "-q", "--", "true"]);
        let output = command.env("GITHUB_ACTIONS", actions).env("GITHUB_STEP_SUMMARY", &summary).output();
        output.expect("it runs")
    };
    assert!(run("false").status.success() && !summary.exists());
    // What is there may end within a line.
    fs::write(&summary, "before").expect("a file");
    let output = run("true");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = fs::read_to_string(&summary).expect("text");
    assert!(text.starts_with("before\n## poolpick: "), "{text}");
    // GitHub would refuse all of it.
    fs::write(&summary, vec![b'x'; 1 << 20]).expect("a file");
    let output = run("true");
    assert!(output.status.success() && stderr(&output).contains("larger than GitHub takes"), "{output:?}");
    assert_eq!(fs::metadata(&summary).expect("a file").len(), 1 << 20);
    fs::remove_file(&summary).expect("it was there");
    fs::create_dir(&summary).expect("a folder");
    let output = run("true");
    assert!(
        output.status.success() && stderr(&output).contains("warning: the report could not be added"),
        "{output:?}"
    );
}

#[test]
fn a_gate_adds_to_the_job_summary_and_to_every_format() {
    let folder = folder();
    fs::write(folder.path().join("poolpick.toml"), "[stages.no]\ncommand = [\"false\"]\nexecutor = \"serial\"\n")
        .expect("a file");
    let summary = folder.path().join("summary.md");
    let output = poolpick(
        folder.path(),
        &["check", "--format", "github", "--export", "junit=a.xml", "--manifest", "poolpick.toml"],
    )
    .env("GITHUB_ACTIONS", "true")
    .env("GITHUB_STEP_SUMMARY", &summary)
    .output()
    .expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let annotations = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        annotations.starts_with("::error title=poolpick%3A stage-failed,file=poolpick.toml,line=1::no: "),
        "{annotations}"
    );
    assert!(fs::read_to_string(&summary).expect("text").contains("poolpick"));
    assert!(fs::read_to_string(folder.path().join("a.xml")).expect("text").contains("<error message="));
    // Nobody has to ask for annotations there.
    let unasked = |words: &[&str], actions: &str| {
        let words = [&["check", "--manifest", "poolpick.toml"], words].concat();
        let output = poolpick(folder.path(), &words).env("GITHUB_ACTIONS", actions).output().expect("it runs");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!stdout.contains("::error"), "{stdout}");
        stderr(&output)
    };
    for words in [&[][..], &["--format", "json"]] {
        let said = unasked(words, "true");
        assert!(said.ends_with(&annotations), "{said}");
        assert!(!unasked(words, "false").contains("::error"));
    }
    assert!(!unasked(&["--quiet"], "true").contains("::error"));
}

/// The limit is the target's: poolpick takes it as an error of its own file, and hands the signal's disposition on.
#[test]
fn a_limit_on_the_size_of_files_ends_the_target_and_not_the_wrapper() {
    use std::os::unix::process::ExitStatusExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let limited = |blocks: u32, rest: &str| {
        let script = format!("ulimit -f {blocks}; exec \"$0\" profile --quiet {rest}");
        let poolpick = env!("CARGO_BIN_EXE_poolpick");
        std::process::Command::new("sh").args(["-c", &script, poolpick]).output().expect("sh runs")
    };
    let lost = limited(1, &format!("--export json={} -- sh -c 'exit 0'", file.display()));
    let told = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert_eq!(lost.status.code(), Some(125), "{told}");
    assert!(told.contains("report.json") && told.contains("File too large"), "{told}");
    let large = folder.path().join("large");
    let ended = limited(1, &format!("-- dd if=/dev/zero of={} bs=1k count=100", large.display()));
    assert_eq!(ended.status.signal(), Some(25), "{:?}", ended);
}
