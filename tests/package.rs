//! The package itself: what a build without features brings along, and what a download holds.

use std::process::Command;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo should start");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_library_alone_has_no_window_no_http_and_no_command_line() {
    let tree = cargo(&["tree", "--locked", "--offline", "--no-default-features", "-e", "normal", "--prefix", "none"]);
    let names: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"wgpu"), "the tree is what it seems: {tree}");
    for banned in ["eframe", "egui", "winit", "axum", "hyper", "http", "tiny_http", "clap", "indicatif", "png"] {
        assert!(!names.contains(&banned), "`{banned}` is in the library's tree");
    }
}

#[test]
fn the_package_is_small_and_holds_no_stray_files() {
    let list = cargo(&["package", "--list", "--allow-dirty", "--offline"]);
    for file in list.lines() {
        let top = file.split('/').next().unwrap_or(file);
        let known = [
            ".cargo_vcs_info.json",
            ".config",
            ".gitignore",
            "CHANGELOG.md",
            "Cargo.lock",
            "Cargo.toml",
            "Cargo.toml.orig",
            "LICENSE-APACHE",
            "LICENSE-MIT",
            "README.md",
            "assets",
            "benches",
            "clippy.toml",
            "examples",
            "rustfmt.toml",
            "shaders",
            "src",
            "tests",
        ];
        assert!(known.contains(&top), "{file} should not be in the package");
    }
    let bytes: u64 = list
        .lines()
        .filter_map(|file| std::fs::metadata(concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned() + file).ok())
        .map(|metadata| metadata.len())
        .sum();
    assert!(bytes < 10_000_000, "the package is {bytes} bytes");
}
