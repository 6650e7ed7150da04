//! `auricle bench`: figures that a user measures.

use crate::cli::{Folder, auricle, text};

/// The figures are measured, not made up: all that must be above zero are, in the order that they must have.
#[test]
fn bench_qos_prints_one_object_with_its_figures() {
    let folder = Folder::new();
    let file = folder.path("qos.json");
    let file = file.to_str().unwrap();
    for json in ["-", file] {
        let arguments = ["bench", "qos", "--device", "cpu", "--turn", "1", "--rounds", "1", "--json", json];
        let output = auricle(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let printed = text(&output.stdout);
        let object = if json == "-" { printed.clone() } else { std::fs::read_to_string(file).unwrap() };
        let figures: serde_json::Value = serde_json::from_str(&object).expect("one object");
        assert_eq!(figures["device"], "cpu");
        assert_eq!(figures["bound_ms"], 2.0, "one submission of 2 ms");
        let number = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("{name} in {object}"));
        for name in ["high_p99_ms", "high_p99_control_ms", "low_share", "total_vs_low_only", "scheduler_cpu_us_per_job"]
        {
            assert!(number(name) > 0.0, "{name} in {object}");
        }
        assert!(number("high_p50_ms") <= number("high_p99_ms"), "{object}");
        assert!(number("low_share") < 1.0 && number("hand_over_parked_us") > 0.0, "{object}");
        assert_eq!(printed.contains("low share"), json != "-", "a table, unless the object is asked for: {printed}");
    }
    let refused = auricle(["bench", "qos", "--turn", "0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("0.1 to 3600 seconds are allowed"), "{}", text(&refused.stderr));
}

#[test]
fn bench_streams_loses_nothing_and_says_what_it_took() {
    let arguments = ["bench", "streams", "--device", "cpu", "--channels", "40", "--seconds", "2", "--json", "-"];
    let output = auricle(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let object = text(&output.stdout);
    let figures: serde_json::Value = serde_json::from_str(&object).expect("one object");
    let number = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("{name} in {object}"));
    assert_eq!(number("pushed"), 40.0 * 2.0 * 16_000.0, "{object}");
    assert_eq!(number("lost"), 0.0, "{object}");
    assert_eq!(number("pulled"), number("pushed"), "{object}");
    // Where others keep the machine busy, something may have been dropped, and then there is nothing to compare.
    assert_ne!(figures["identical"], false, "{object}");
    assert!(figures["identical"] == true || number("dropped") > 0.0, "{object}");
    assert!(number("delay_p50_ms") > 20.0, "no sooner than the denoiser can: {object}");
    assert!(number("delay_p50_ms") <= number("delay_p99_ms"), "{object}");
    assert!(number("batches") > 0.0 && number("largest_batch") >= number("mean_batch"), "{object}");
}

#[test]
fn bench_ingest_brings_out_all_that_went_in() {
    let output = auricle(["bench", "ingest", "--rounds", "1", "--sparse", "97", "--json", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let figures: serde_json::Value = serde_json::from_str(&text(&output.stdout)).expect("one object");
    let number = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("{name} in {figures}"));
    assert!(number("frames_per_s") > 0.0 && number("frames_per_s") <= number("push_frames_per_s"), "{figures}");
    let live = number("live_frames") / number("frames");
    assert!((0.02..0.06).contains(&live), "3 of 100 frames, and what the filter spreads of them: {figures}");
}

/// The soak of ten minutes, for as long as a test may take.
#[cfg(feature = "serve")]
#[test]
fn bench_serve_loses_nothing_and_is_never_at_fault() {
    let arguments = ["bench", "serve", "--device", "cpu", "--seconds", "6", "--streams", "24", "--clients", "2"];
    let output = auricle(arguments.iter().chain(&["--json", "-"])).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let figures: serde_json::Value = serde_json::from_str(&text(&output.stdout)).expect("one object");
    let number = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("{name} in {figures}"));
    assert_eq!((number("stream_floats_lost"), number("server_errors")), (0.0, 0.0), "{figures}");
    assert!(number("stream_floats_pushed") >= 24.0 * 5.0 * 16_000.0, "{figures}");
    assert!(number("hints") > 100.0 && number("client_jobs") > 10.0 && number("rubbish") > 20.0, "{figures}");
    assert!(number("hints_p50_ms") > 0.0 && number("hints_p50_ms") <= number("hints_p99_ms"), "{figures}");
    assert!(number("memory_growth") < 1.0, "memory doubled in four seconds: {figures}");
}

#[test]
fn bench_filter_holds_figures_against_limits_peers_and_another_day() {
    let folder = Folder::new();
    let file = folder.path("figures.json");
    let file = file.to_str().unwrap();
    let peer = r#"echo '{"peers": [{"name": "snail", "figures": ["filter.hot.1t"]}], "skipped": {"hare": "asleep"}}';
        while read line; do echo '{"rate": 1}'; done"#;
    let filter = |more: &[&str]| {
        let arguments = ["bench", "filter", "--rounds", "2", "--threads", "2"];
        auricle(arguments.iter().chain(more)).output().unwrap()
    };
    let with_peer = ["--json", file, "--peer", peer];
    let output = filter(if cfg!(unix) { &with_peer } else { &with_peer[..2] });
    assert!(output.status.success(), "{}", text(&output.stderr));
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    for part in ["machine", "adapter", "driver", "versions", "date", "limits", "results"] {
        assert!(!document[part].is_null(), "{part} in {document}");
    }
    let named = |list: &str, name: &str| -> serde_json::Value {
        let list = document[list].as_array().unwrap();
        list.iter().find(|figure| figure["name"] == name).unwrap_or_else(|| panic!("{name} in {document}")).clone()
    };
    assert!(named("limits", "fma.1t")["median"].as_f64() > Some(1e8));
    let hot = named("results", "filter.hot.1t");
    let number = |of: &serde_json::Value| of.as_f64().unwrap_or_else(|| panic!("a number in {hot}"));
    assert!(number(&hot["min"]) > 0.0 && number(&hot["min"]) <= number(&hot["median"]), "{hot}");
    assert!(number(&hot["of_limit"]) > 0.0 && number(&hot["of_limit"]) < 1.0, "a filter is no peak: {hot}");
    assert!(number(&hot["vs"]["realfft"]) > 0.0);
    if cfg!(unix) {
        assert!(number(&hot["vs"]["snail"]) > 1000.0, "{hot}");
        assert!(text(&output.stdout).contains("not measured: hare (asleep)"), "{}", text(&output.stdout));
    }
    let compared = filter(&["--compare", file]);
    let table = text(&compared.stdout);
    assert!(compared.status.success() && table.contains("better"), "{table}");
    let line = table.lines().rfind(|line| line.starts_with("filter.hot.1t")).unwrap();
    assert!(line.trim_end().ends_with('x'), "{line}");

    // What cannot be read is told before anything is measured.
    std::fs::write(file, "{}").unwrap();
    for (arguments, part) in [
        (["--compare", "nowhere.json"], "nowhere.json"),
        (["--compare", file], "has no figures of `auricle bench all --json`"),
        (["--dtln", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--peer", "exit 3"], "the peer `exit 3`"),
        (["--picture", "curves.svg"], "no curve"),
        (["--device", "gpu"], "measured on the CPU"),
    ] {
        let output = filter(&arguments);
        assert!(!output.status.success() && text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
}

/// From the start of a process to its end: a whole `auricle run` for each.
#[test]
fn bench_start_times_whole_runs() {
    let output = auricle(["bench", "start", "--rounds", "2", "--json", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let document: serde_json::Value = serde_json::from_str(&text(&output.stdout)).expect("one object");
    let results = document["results"].as_array().unwrap();
    let figure = results.iter().find(|figure| figure["name"] == "start.cpu").expect("the CPU is always there");
    let number = |name: &str| figure[name].as_f64().unwrap_or_else(|| panic!("{name} in {figure}"));
    assert_eq!(figure["unit"], "ms");
    assert!(number("min") > 1.0 && number("min") <= number("median"), "no process starts in a millisecond: {figure}");
}

/// README's table is the result file's, as `auricle bench table` prints it.
#[test]
fn the_table_of_the_readme_is_that_of_a_result_file() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- auricle bench table ").expect("README should have its table");
    let (file, rest) = rest.split_once(" -->\n").unwrap();
    let (kept, _) = rest.split_once("\n<!-- end of the table -->").unwrap();
    let folder = Folder::new();
    let picture = folder.path("curves.svg");
    let arguments = ["bench", "table", file, "--picture", picture.to_str().unwrap()];
    let output = auricle(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(kept.trim(), text(&output.stdout).trim(), "put into README what `auricle bench table {file}` prints");
    let (drawn, kept) = (std::fs::read(&picture).unwrap(), std::fs::read(root.join("assets/curves.svg")).unwrap());
    assert!(drawn == kept, "draw it again: auricle bench table {file} --picture assets/curves.svg");
}
