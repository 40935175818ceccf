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
    let shown: Vec<&str> = steps.iter().filter_map(|step| step["claim"].as_str()).collect();
    for claim in ["claim 12, Fig. 13", "claim 13, Fig. 14", "replay", "[0019]", "[0023]"] {
        assert!(shown.contains(&claim), "{claim} is not shown");
    }
    assert!(output.status.success());
}
