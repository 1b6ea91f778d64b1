//! The page of `view` in a browser: that it loads, goes on with a run, filters, opens a trajectory,
//! shows hostile text as text, lies in one file, and answers nobody else.
//!
//! Listed as ignored where there is no `chromium` with its `chromedriver`.

use crate::checkout;
use crate::webdriver::Browser;
use paretopo_records::write_trajectories;
use paretopo_trajectory::{
    Author, CallRecord, CallStatus, Segment, ToolOutcome, Trajectory, TrajectoryId,
};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `paretopo view`, which ends with this.
struct Page {
    process: Child,
    address: String,
}

impl Page {
    fn of(folder: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_paretopo"))
            .args(["view", "--address", "127.0.0.1:0"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { process, address }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Rows of the first table of the page.
const ROWS: &str = "document.querySelectorAll('main tbody tr').length";

fn append(run: &Path, line: &str) {
    let file = std::fs::File::options().create(true).append(true).open(run.join("metrics.jsonl"));
    file.unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// A run with one step and four rollouts of one prompt, the last of which says this.
fn small_run(folder: &Path, says: &str) -> std::path::PathBuf {
    let run = folder.join("grpo-1");
    std::fs::create_dir_all(run.join("trajectories")).unwrap();
    let config = "seed = 1\n[policy]\ntype = \"embedded\"\nname = \"graded-math\"\n\
                  [train]\nsteps = 9\n[estimator]\ntype = \"grpo\"\n";
    std::fs::write(run.join("config.toml"), config).unwrap();
    append(&run, "{\"step\":0,\"em\":0.25,\"calls\":1.5}");
    let episode = |sample: usize, values: [f64; 2], says: &str| Trajectory {
        success: Some(values[0] == 1.0),
        objectives: [("r_task", values[0]), ("r_tool", values[1])].into_iter().collect(),
        advantages: vec![values[0] - 0.25],
        segments: vec![
            Segment::given(Author::Prompt, vec![2, 41, 44, 32]),
            Segment {
                ids: vec![40, 8, 11, 26],
                logprobs: vec![-0.5; 4],
                sampling_logprobs: vec![-0.25; 4],
                trainer_logprobs: vec![-0.45, -0.5, -0.6, -0.5],
                ..Segment::sampling(0)
            },
        ],
        calls: vec![CallRecord {
            segment: Some(1),
            ..CallRecord::new(None, ToolOutcome::new(CallStatus::Error, says, 0.5))
        }],
        response: says.to_owned(),
        answer: Some(says.to_owned()),
        ..Trajectory::empty(TrajectoryId::new("train", 0, sample), says, sample)
    };
    let episodes = [
        episode(0, [1.0, 0.5], "36"),
        episode(1, [1.0, 0.25], "36"),
        episode(2, [0.0, 0.5], "63"),
        episode(3, [0.0, 0.125], says),
    ];
    let path = run.join("trajectories/step-000000.jsonl");
    write_trajectories(&path, &episodes).unwrap();
    run
}

#[test]
#[cfg_attr(not(with_chromium), ignore = "needs chromium and chromedriver")]
fn the_first_screen_says_what_is_wrong_with_the_examples() {
    let page = Page::of(&checkout("experiments/faults"));
    let browser = Browser::open();
    browser.go(&page.address);
    browser.until("document.querySelectorAll('.illness').length >= 3");
    // within the window of 1400 x 1000
    for rule in ["grader never right", "silent groups", "calls collapsed"] {
        let place = browser.script(&format!(
            "return [...document.querySelectorAll('.illness h3')]\
             .find((h) => h.innerText.startsWith({rule:?})).getBoundingClientRect().bottom"
        ));
        assert!(place.as_f64().is_some_and(|bottom| bottom < 950.0), "{rule}: {place}");
    }
    assert_eq!(browser.script(&format!("return {ROWS}")), json!(3));
    // curves and fronts are drawn
    browser.until("document.querySelectorAll('.u-wrap canvas').length === 1");
    assert_eq!(browser.script("return document.querySelectorAll('svg circle').length"), json!(3));
    // the settings in which two runs differ
    browser.script("document.querySelectorAll('main tbody input').forEach((box, i) => { if (i < 2) box.click(); })");
    browser.until("document.body.innerText.includes('environment.problems.path')");
    browser.go(&format!("{}/#/health?run=calls-collapsed", page.address));
    browser.until("document.querySelectorAll('.verdicts .card').length === 10");
    let first = browser.text(".verdicts .card");
    assert!(first.contains("CALLS COLLAPSED") || first.contains("calls collapsed"), "{first}");
    assert!(first.contains("Make calls cheaper"), "{first}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[cfg_attr(not(with_chromium), ignore = "needs chromium and chromedriver")]
fn a_run_goes_on_before_ones_eyes() {
    let folder = tempfile::tempdir().unwrap();
    let run = small_run(folder.path(), "64");
    let page = Page::of(folder.path());
    let browser = Browser::open();
    browser.go(&page.address);
    browser.until("document.body.innerText.includes('1 / 9')");
    append(&run, "{\"step\":1,\"em\":0.75,\"calls\":0.5}");
    browser.until("document.body.innerText.includes('2 / 9')");
    assert!(browser.text("main tbody tr").contains("0.750"));
    // a line that is not whole yet changes nothing, and breaks nothing
    let mut file = std::fs::File::options().append(true).open(run.join("metrics.jsonl")).unwrap();
    file.write_all(b"{\"step\":2,\"em\":0.").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(browser.text("main tbody tr").contains("2 / 9"));
    file.write_all(b"5}\n").unwrap();
    browser.until("document.body.innerText.includes('3 / 9')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[cfg_attr(not(with_chromium), ignore = "needs chromium and chromedriver")]
fn trajectories_are_filtered_and_opened() {
    let folder = tempfile::tempdir().unwrap();
    small_run(folder.path(), "64");
    let page = Page::of(folder.path());
    let browser = Browser::open();
    browser.go(&format!("{}/#/trajectories?run=grpo-1", page.address));
    browser.until(&format!("{ROWS} === 4"));
    // (1, 0.5) dominates the three others, (1, 0.25) the last, (0, 0.5) it too
    assert_eq!(browser.script("return document.querySelectorAll('.rollout').length"), json!(4));
    let ranks =
        "[...document.querySelectorAll('.rollout')].map((r) => /rank (\\d)/.exec(r.innerText)[1])";
    assert_eq!(browser.script(&format!("return {ranks}")), json!(["1", "2", "2", "3"]));
    browser.go(&format!("{}/#/trajectories?run=grpo-1&success=wrong", page.address));
    browser.until(&format!("{ROWS} === 2"));
    browser.go(&format!("{}/#/trajectories?run=grpo-1&rank=1", page.address));
    browser.until(&format!("{ROWS} === 1"));
    // another rollout of the group by the keyboard alone
    browser.script(
        "const other = document.querySelectorAll('.rollout')[2]; other.focus(); other.click()",
    );
    browser.until("document.querySelector('.rollout[aria-current]').innerText.startsWith('#2')");
    browser.until(
        "[...document.querySelectorAll('main h2')].some((h) => h.innerText === 'train-0-2')",
    );
    // its tokens are coloured by what they were weighed by
    browser.script(
        "const look = [...document.querySelectorAll('select')].find((s) => s.innerText.includes('advantage')); \
         look.value = 'advantage'; look.dispatchEvent(new Event('change'))",
    );
    browser.until("document.querySelectorAll('.message.model .token').length === 4");
    let colour = browser.script(
        "return getComputedStyle(document.querySelector('.message.model .token')).backgroundColor",
    );
    // 0 - 0.25 is an eighth of the full orange
    assert_eq!(colour, json!("rgba(213, 94, 0, 0.125)"));
    // and by what trainer and sampler differ by: 0.05 and -0.1 of 0.2 nats
    choose(&browser, "advantage", "trainer");
    browser.until("document.body.innerText.includes('less the sampler')");
    let colours = browser.script(
        "return [...document.querySelectorAll('.message.model .token')]\
         .map((token) => getComputedStyle(token).backgroundColor)",
    );
    let [blue, none, orange] = [&colours[0], &colours[1], &colours[2]];
    assert_eq!(blue, "rgba(0, 114, 178, 0.25)");
    assert_eq!((none, orange), (&json!("rgba(0, 114, 178, 0)"), &json!("rgba(213, 94, 0, 0.5)")));
    // raw ids, and what was cut
    choose(&browser, "advantage", "ids");
    browser.until("document.querySelector('.message.model .text').innerText === '40 8 11 26'");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Chooses an option of the first choice that says this.
fn choose(browser: &Browser, says: &str, value: &str) {
    browser.script(&format!(
        "const look = [...document.querySelectorAll('select')].find((s) => s.innerText.includes('{says}')); \
         look.value = '{value}'; look.dispatchEvent(new Event('change'))"
    ));
}

#[test]
#[cfg_attr(not(with_chromium), ignore = "needs chromium and chromedriver")]
fn who_reads_is_not_disturbed_and_is_offered_new_steps() {
    let folder = tempfile::tempdir().unwrap();
    let run = small_run(folder.path(), "64");
    let page = Page::of(folder.path());
    let browser = Browser::open();
    browser.go(&format!("{}/#/trajectories?run=grpo-1&line=1", page.address));
    browser.until("document.querySelectorAll('.message').length === 2");
    browser.script("document.querySelector('.message').dataset.kept = 'yes'");
    let trajectories = run.join("trajectories");
    std::fs::copy(trajectories.join("step-000000.jsonl"), trajectories.join("step-000001.jsonl"))
        .unwrap();
    append(&run, "{\"step\":1,\"em\":0.75,\"calls\":0.5}");
    browser.until(
        "[...document.querySelectorAll('select option')].some((o) => o.innerText === 'step 1')",
    );
    // the one that is read is the same, and still chosen
    let kept = browser.script("return document.querySelector('.message').dataset.kept");
    assert_eq!(kept, json!("yes"));
    choose(&browser, "step 0", "step-000001");
    browser.until("location.hash.includes('step-000001')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[cfg_attr(not(with_chromium), ignore = "needs chromium and chromedriver")]
fn runs_are_sorted_smoothed_averaged_and_drawn_over_tokens() {
    let folder = tempfile::tempdir().unwrap();
    for (name, seed, ems) in [("grpo-1", 1, [0.0, 1.0]), ("grpo-2", 2, [0.5, 0.5])] {
        let run = folder.path().join(name);
        std::fs::create_dir(&run).unwrap();
        let config = format!("seed = {seed}\n[train]\nsteps = 9\n[estimator]\ntype = \"grpo\"\n");
        std::fs::write(run.join("config.toml"), config).unwrap();
        for (step, em) in ems.iter().enumerate() {
            let tokens = 10 * (step + 1);
            append(
                &run,
                &format!(
                    "{{\"step\":{step},\"em\":{em},\"calls\":1.5,\"response_tokens\":{tokens}}}"
                ),
            );
        }
    }
    let page = Page::of(folder.path());
    let browser = Browser::open();
    browser.go(&page.address);
    browser.until(&format!("{ROWS} === 2"));
    // by EM, then the other way round, as buttons that a keyboard reaches
    let sort =
        "[...document.querySelectorAll('th button')].find((b) => b.innerText === 'EM').click()";
    let first = "document.querySelector('main tbody tr').innerText.includes";
    browser.script(sort);
    browser.until(&format!("{first}('grpo-1')"));
    browser.script(sort);
    browser.until(&format!("{first}('grpo-2')"));
    let sorted = browser.script("return document.querySelector('th[aria-sort]').innerText");
    assert_eq!(sorted, json!("EM"));
    // the last numbers: of each run, of the mean over seeds, over two steps, over tokens
    let reading = "document.querySelector('.chart .reading').innerText";
    browser.until(&format!("/step 1\\s*grpo-1 1.000\\s*grpo-2 0.500/.test({reading})"));
    browser.script(
        "const smoothing = document.querySelector('input[type=range]'); smoothing.value = 2; \
         smoothing.dispatchEvent(new Event('change'))",
    );
    browser.until(&format!("/grpo-1 0.500\\s*grpo-2 0.500/.test({reading})"));
    browser.script(
        "[...document.querySelectorAll('button')].find((b) => b.innerText === 'Mean over seeds').click()",
    );
    browser.until(&format!("/grpo \\(2\\) 0.500/.test({reading})"));
    choose(&browser, "sampled tokens", "tokens");
    browser.until(&format!("/tokens 30/.test({reading})"));
    // one colour for one method, that of figures
    let swatch = browser.script(
        "return getComputedStyle(document.querySelector('main tbody .swatch')).backgroundColor",
    );
    assert_eq!(swatch, json!("rgb(230, 159, 0)"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

const HOSTILE: &str = "</script><script>window.stolen = 1</script><img src=x onerror='window.stolen = 1'>\
                       <svg onload='window.stolen = 1'>javascript:window.stolen=1 \u{202e}${window.stolen = 1}";

#[track_caller]
fn check_is_text(browser: &Browser) {
    browser.until("document.querySelectorAll('.rollout').length === 4");
    browser.until("document.querySelectorAll('.message').length === 2");
    assert!(browser.script("return document.body.textContent").as_str().unwrap().contains(HOSTILE));
    assert_eq!(browser.script("return window.stolen ?? null"), json!(null));
    assert_eq!(
        browser.script("return document.querySelectorAll('main img, main script').length"),
        json!(0)
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[cfg_attr(not(with_chromium), ignore = "needs chromium and chromedriver")]
fn hostile_text_is_text_on_the_page_and_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    small_run(folder.path(), HOSTILE);
    let page = Page::of(folder.path());
    let browser = Browser::open();
    browser.go(&format!("{}/#/trajectories?run=grpo-1&line=3", page.address));
    check_is_text(&browser);
    // the same as one file, which asks nobody
    let file = folder.path().join("page.html");
    let exported = Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(["view", folder.path().to_str().unwrap(), "--export", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    drop(page);
    browser.go(&format!("file://{}#/trajectories?run=grpo-1&line=3", file.display()));
    check_is_text(&browser);
    browser.go("about:blank");
    browser.go(&format!("file://{}#/overview", file.display()));
    browser.until("document.body.innerText.includes('1 / 9')");
    browser.go("about:blank");
    browser.go(&format!("file://{}#/trajectories?run=grpo-1&success=right", file.display()));
    browser.until(&format!("{ROWS} === 2"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn nobody_else_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    small_run(folder.path(), "64");
    let page = Page::of(folder.path());
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let status = |path: &str, headers: &[(&str, &str)]| {
        let mut request = agent.get(format!("{}{path}", page.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.call().unwrap().status().as_u16()
    };
    for path in ["/", "/assets/main.js", "/api/overview", "/api/files?run=grpo-1"] {
        assert_eq!(status(path, &[]), 200, "{path}");
        assert_eq!(status(path, &[("host", "evil.example")]), 403, "{path}");
        assert_eq!(status(path, &[("origin", "http://evil.example")]), 403, "{path}");
        assert_eq!(status(path, &[("sec-fetch-site", "cross-site")]), 403, "{path}");
    }
    assert_eq!(status("/api/files?run=..", &[]), 404);
    assert_eq!(status("/api/episodes?run=grpo-1&file=..%2F..%2Fconfig", &[]), 404);
    assert_eq!(status("/api/episodes?run=grpo-1&file=step-000000&rank=x", &[]), 400);
    let page_itself = agent.get(&page.address).call().unwrap();
    let policy = page_itself.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    let posted = agent.post(format!("{}/api/overview", page.address)).send("").unwrap();
    assert_eq!(posted.status().as_u16(), 405);
}

#[test]
#[cfg_attr(not(with_chromium), ignore = "needs chromium and chromedriver")]
fn a_page_of_another_origin_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    small_run(folder.path(), "64");
    let (page, other) = (Page::of(folder.path()), Page::of(folder.path()));
    let browser = Browser::open();
    browser.go(&other.address);
    browser.until("document.body.innerText.includes('1 / 9')");
    // its own policy aside, which another site would not have
    browser.go("about:blank");
    browser.script(&format!(
        "window.read = 'waits'; fetch('{}/api/overview').then((r) => r.text())\
         .then((text) => {{ window.read = text; }}, () => {{ window.read = 'refused'; }})",
        page.address
    ));
    browser.until("window.read === 'refused'");
}
