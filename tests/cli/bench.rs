//! Prevents `bench`, against a server and in process, from reporting numbers that do not add up, accepting wrong
//! answers, or hiding failures.

use std::time::Duration;

use serde_json::Value;

use crate::program::{Program, RunOutput, SHA256, UNKNOWN};

/// Options of a short run with few keys.
const QUICK: [&str; 6] = ["--json", "--duration=400ms", "--warmup=50ms", "--distinct=5000", "--batch=500", "--seed=7"];

/// Runs `bench` with the options of [`QUICK`], except those that `args` override.
fn quick(program: &Program, args: &[&str]) -> RunOutput {
    let name = |arg: &&str| arg.split('=').next().unwrap().to_owned();
    let given: Vec<_> = args.iter().map(name).collect();
    let rest: Vec<_> = QUICK.into_iter().filter(|arg| !given.contains(&name(arg))).collect();
    program.run(&[&["bench"], &rest[..], args].concat())
}

fn bench(program: &Program, args: &[&str]) -> Value {
    let ran = quick(program, args);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let documents = ran.objects();
    assert_eq!(documents.len(), 1, "{ran:?}");
    documents.into_iter().next().unwrap()
}

fn number(document: &Value, path: &str) -> f64 {
    document.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} is not a number: {document}"))
}

/// Asserts that everything sent was answered as the snapshot requires.
fn assert_adds_up(document: &Value) {
    for what in ["batches", "keys"] {
        let count = |name: &str| number(document, &format!("/{name}/{what}"));
        assert!(count("sent") > 0.0, "{document}");
        assert_eq!((count("answered"), count("failed")), (count("sent"), 0.0), "{document}");
    }
    assert!(number(document, "/known_keys") > 0.0, "{document}");
    assert_eq!(document["known_keys"], document["expected_known_keys"], "{document}");
    let latencies = ["p50", "p90", "p99", "p99_9", "max"].map(|name| number(document, &format!("/latency_us/{name}")));
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{document}");
    let rates = ["min", "median", "max"].map(|name| number(document, &format!("/keys_per_second/{name}")));
    assert!(rates[2] > 0.0 && rates.is_sorted(), "{document}");
    assert_eq!(document["failures"], Value::Array(Vec::new()), "{document}");
}

#[test]
fn a_closed_loop_adds_up() {
    let program = Program::with_records();
    let server = program.serve();
    let document = bench(&program, &["--db", "records.ksn", "--mix", "sha256=8,web=1", "--connections", "2"]);
    assert_adds_up(&document);
    // The local server is found without `--server`.
    assert_eq!(document["asked"], server.address.as_str());
    assert_eq!((&document["in_flight"], &document["rate"]), (&8.into(), &Value::Null), "{document}");
    assert_eq!(number(&document, "/sent/keys"), 500.0 * number(&document, "/sent/batches"), "{document}");
    // A tenth of 5,000 random choices, within six standard deviations. One hash and one name are listed.
    let share = number(&document, "/known_keys") / number(&document, "/answered/keys");
    assert!((0.07..0.13).contains(&share), "{share}");
    assert!((2.0..6.0).contains(&number(&document, "/distinct_known_keys")), "{document}");
    assert!(number(&document, "/request_bytes_per_second") > 0.0);

    let pin = ["--server", &server.address, "--pin", &server.pin];
    let single = bench(
        &program,
        &[&pin[..], &["--batch=1", "--in-flight=100", "--threads=2", "--connections=2", "--db=records.ksn"]].concat(),
    );
    assert_adds_up(&single);
    assert_eq!(single["sent"]["keys"], single["sent"]["batches"]);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let program = Program::with_records();
    let _server = program.serve();
    let document = bench(&program, &["--db=records.ksn", "--rate=10000", "--batch=20", "--duration=1s"]);
    assert_adds_up(&document);
    assert_eq!((&document["rate"], &document["in_flight"]), (&10_000.into(), &64.into()), "{document}");
    let keys = number(&document, "/sent/keys");
    // On a machine that is busy with other tests, some keys may be unsent at the end, which is then reported.
    let most = 10_000.0 * number(&document, "/measured_s") + 40.0;
    assert!(keys <= most && keys + number(&document, "/unsent_keys") >= 9_900.0, "{document}");
}

#[test]
fn random_keys_are_not_reported_as_checked() {
    let program = Program::with_records();
    let _server = program.serve();
    let ran = quick(&program, &["--mix=sha256,md5,ipv4"]);
    assert!(ran.code == Some(0) && ran.err.contains("without --db all keys are random"), "{ran:?}");
    let document = &ran.objects()[0];
    assert_eq!((&document["known_keys"], &document["expected_known_keys"]), (&0.into(), &Value::Null), "{document}");
    assert_eq!(document["distinct_keys"], 5_000);

    program.write("keys.txt", &format!("{SHA256}\nhxxp://evil[.]example/a\n2001:db8::1\n{UNKNOWN}\n{UNKNOWN}\n"));
    let ran = quick(&program, &["--keys=keys.txt", "--db=records.ksn"]);
    assert!(ran.code == Some(0) && ran.err.contains("skipped 1 line of keys.txt"), "{ran:?}");
    let document = &ran.objects()[0];
    assert_adds_up(document);
    assert_eq!((&document["distinct_keys"], &document["distinct_known_keys"]), (&3.into(), &2.into()), "{document}");
    assert_eq!(number(document, "/known_keys") * 2.0, number(document, "/answered/keys"), "{document}");
}

#[test]
fn in_process_runs_need_no_server() {
    let program = Program::with_records();
    for more in [&["--threads=2"][..], &["--batch=1"], &["--mix=sha256,web,ipv4=3", "--hits=50"]] {
        let args = [&["--local", "--db", "records.ksn"], more].concat();
        if more.len() == 2 {
            // Keys of a kind that the snapshot does not list cannot be known.
            let ran = quick(&program, &args);
            assert!(
                ran.code == Some(2) && ran.err.contains("no ipv4 entries") && ran.err.contains("sha256, url"),
                "{ran:?}"
            );
            continue;
        }
        let document = bench(&program, &args);
        assert_adds_up(&document);
        assert!(document["asked"] == "local" && number(&document, "/ns_per_key") > 0.0, "{document}");
    }
    let ran = program.run(&["bench", "--local", "--db=records.ksn", "--duration=300ms", "--warmup=0s", "--distinct=1"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for word in ["sent", "answered", "as expected", "keys/s", "ns/key", "p99.9"] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    assert_eq!(ran.err, "");
}

#[test]
fn answers_from_another_snapshot_end_the_run_and_name_both_generations() {
    let program = Program::with_records();
    let _server = program.serve();
    program.write("other.csv", &format!("sha256\n{}\n", SHA256.replace('5', "6")));
    let build = ["build", "-o", "other.ksn", "--dataset=other", "--generation=8", "other.csv"];
    assert_eq!(program.run(&build).code, Some(0));
    let ran = quick(&program, &["--db=other.ksn"]);
    assert!(ran.code == Some(2) && ran.out.is_empty(), "{ran:?}");
    for part in ["known keys in a batch of 500, found 0", "has local, generation", "--db is other, generation 8"] {
        assert!(ran.err.contains(part), "{part}: {ran:?}");
    }
}

#[test]
fn no_keys_are_sent_to_the_wrong_server() {
    let program = Program::with_records();
    let server = program.serve();
    let wrong = format!("sha256:{UNKNOWN}");
    let ran = quick(&program, &["--server", &server.address, "--pin", &wrong]);
    assert!(ran.code == Some(2) && ran.out.is_empty(), "{ran:?}");
    assert!(ran.err.contains("wrong server") && ran.err.contains(&server.pin), "{ran:?}");
}

/// Repeats a run with longer waits until it prints a report: the event under test must happen during the run, which may
/// start late on a busy machine.
fn retry_until_report(run: impl Fn(Duration) -> RunOutput) -> RunOutput {
    let mut ran = [1, 4, 16].map(Duration::from_secs).into_iter().map(run);
    ran.find(|ran| !ran.out.is_empty()).expect("a report")
}

/// Prevents failures that are missing from the report.
#[test]
fn a_killed_server_is_reported() {
    let program = Program::with_records();
    let ran = retry_until_report(|wait| {
        let mut server = program.serve();
        let duration = format!("--duration={}s", wait.as_secs() + 1);
        let args = ["bench", "--json", "--db=records.ksn", &duration, "--warmup=0s", "--distinct=5000"];
        let child = program.command(&args).spawn().unwrap();
        std::thread::sleep(wait);
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        child.wait_with_output().unwrap().into()
    });
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let document = &ran.objects()[0];
    let count = |name: &str| number(document, &format!("/{name}/batches"));
    assert!(count("failed") > 0.0, "{document}");
    assert_eq!(count("sent"), count("answered") + count("failed"), "{document}");
    let reported: f64 = document["failures"].as_array().unwrap().iter().map(|kind| number(kind, "/batches")).sum();
    assert_eq!(reported, count("failed"), "{document}");
    assert!(document["failures"][0]["first"].as_str().is_some_and(|first| !first.is_empty()), "{document}");
}

#[test]
fn argument_errors_name_what_was_expected() {
    let program = Program::with_records();
    for (args, expected) in [
        (&["--mix=sha257"][..], "sha256"),
        (&["--mix=md5=0"], "a weight of at least 1"),
        (&["--duration=10"], "such as `10s`"),
        (&["--duration=0s"], "longer than 0"),
        (&["--hits=101", "--db=records.ksn"], "a percentage"),
        (&["--hits=ten", "--db=records.ksn"], "a percentage"),
        (&["--hits=10%"], "--db"),
        (&["--local"], "--db"),
        (&["--local", "--db=records.ksn", "--rate=5"], "cannot be used with"),
        (&["--keys=k.txt", "--mix=md5"], "cannot be used with"),
        (&["--batch=65537"], "1..=65536"),
        (&["--rate=0"], "1.."),
        (&["--threads=2"], "--connections 2"),
        (&["--db=absent.ksn"], "absent.ksn"),
        (&["--server=ksn.example:4433"], "--pin"),
        (&[], "ksn serve"),
    ] {
        let ran = program.run(&[&["bench"], args].concat());
        assert!(ran.code == Some(2) && ran.out.is_empty() && ran.err.contains(expected), "{args:?}: {ran:?}");
    }
    let _server = program.serve();
    for (args, expected) in [
        (&["--mix=web", "--batch=8193", "--distinct=1"][..], "at most 262144 probes"),
        (&["--in-flight=65", "--distinct=1"], "at most 64 batches at a time"),
    ] {
        let ran = program.run(&[&["bench"], args].concat());
        assert!(ran.code == Some(2) && ran.out.is_empty() && ran.err.contains(expected), "{args:?}: {ran:?}");
    }
}

/// Prevents the figures of a long run from being lost when it is interrupted.
#[cfg(unix)]
#[test]
fn an_interrupted_run_reports() {
    let program = Program::with_records();
    let _server = program.serve();
    for more in [&[][..], &["--rate=1", "--in-flight=1"], &["--local"]] {
        let ran = retry_until_report(|wait| {
            let args = ["bench", "--json", "--db=records.ksn", "--duration=1h", "--warmup=0s", "--distinct=5000"];
            let child = program.command(&[&args, more].concat()).spawn().unwrap();
            std::thread::sleep(wait);
            let id = child.id().to_string();
            assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
            child.wait_with_output().unwrap().into()
        });
        assert_eq!(ran.code, Some(0), "{more:?}: {ran:?}");
        let document = &ran.objects()[0];
        assert!(document["interrupted"] == true && number(document, "/sent/keys") > 0.0, "{more:?}: {document}");
        assert_eq!(document["sent"], document["answered"], "{more:?}: {document}");
        assert!(number(document, "/measured_s") < 60.0, "{document}");
    }
}
