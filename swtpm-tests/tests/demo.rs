//! The story that `scripts/demo` tells is true: every step of it is as said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

#[test]
fn every_step_of_the_demo_is_as_said() {
    // Cargo builds examples before it runs tests, and puts them beside the tests' folder.
    let here = std::env::current_exe().unwrap();
    let demo = here.parent().unwrap().with_file_name("examples").join("demo");
    let output = Command::new(demo).arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let steps: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (number, step) in (1..).zip(&steps) {
        assert_eq!(step["step"], number);
        assert!(step["claim"].is_string() && step["detail"].is_string());
        assert_eq!(step["ok"], true, "{step}");
    }
    let told: Vec<String> = steps.iter().map(line).collect();
    assert_eq!(told, promised());
    for claim in ["claim 12, Fig. 13", "claim 13, Fig. 14", "replay", "[0019]", "[0023]"] {
        assert!(steps.iter().any(|step| step["claim"] == claim), "{claim} is not shown");
    }
    let known = steps[1]["detail"].as_str().unwrap();
    for class in ["assurance  tpm-ek", "assurance  token"] {
        assert!(known.contains(class), "{class}: {known}");
    }
    assert!(output.status.success());
}

/// A step as the demo tells it to people.
fn line(step: &serde_json::Value) -> String {
    let text = |name: &str| step[name].as_str().unwrap();
    format!("✓ {}. {}  [{}]", step["step"], text("what"), text("claim"))
}

/// What the front door says that it tells.
fn promised() -> Vec<String> {
    let readme = include_str!("../../README.md").lines();
    let steps = readme.skip_while(|line| *line != "$ scripts/demo").skip(1);
    steps.take_while(|line| *line != "```").map(str::to_owned).collect()
}
