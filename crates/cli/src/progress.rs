//! Progress on a terminal; a line now and then where the output is no terminal.

use crate::output::{self, errln};
use crate::sparkline::Sparkline;
use crate::watch::Watch;
use indicatif::{ProgressBar, ProgressStyle};
use paretopo_training::{Metrics, Observer};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is said of a step, and its name; the first two are drawn as curves, too.
const SHOWN: [(&str, &str); 3] = [("em", "EM"), ("calls", "#Tool"), ("loss", "loss")];

/// Draws a bar with EM and #Tool as they went, or says nothing. Warns once of what goes wrong.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    lines: bool,
    /// Where a log is to be kept, once the recipe has taken the folder.
    log: Option<PathBuf>,
    /// How EM and #Tool went.
    curves: [Sparkline; 2],
    watch: Option<Watch>,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (!quiet && terminal).then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template(
                "{prefix} [{bar:30}] {pos}/{len} {msg} ({elapsed}, {eta} left)",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self {
            bar,
            quiet,
            lines: !quiet && !terminal,
            log: None,
            curves: Default::default(),
            watch: None,
        }
    }

    fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => {
                output::log_line(message);
                bar.println(message);
            }
            None if self.quiet => output::log_line(message),
            None => errln!("{message}"),
        }
    }

    /// Keeps a log in a run's folder from the first word of its recipe on, which speaks only once the
    /// folder is its own.
    pub(crate) fn log_into(&mut self, folder: &Path) {
        self.log = Some(folder.to_owned());
        self.watch = Some(Watch::over(folder));
    }

    fn heard_of_recipe(&mut self) {
        if let Some(folder) = self.log.take() {
            output::open_log(&folder);
        }
    }
}

impl Observer for Progress {
    fn progress(&mut self, phase: &str, done: usize, total: usize) {
        self.heard_of_recipe();
        let Some(bar) = &self.bar else { return };
        if phase == "evaluate" || phase == "index" {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
        bar.set_prefix(phase.to_owned());
    }

    fn step(&mut self, step: u64, total: u64, metrics: &Metrics) {
        self.heard_of_recipe();
        let tops = [1.0, 0.0];
        let (mut shown, mut drawn) = (Vec::new(), Vec::new());
        for (place, (key, name)) in SHOWN.iter().enumerate() {
            let Some(value) = metrics.get(*key) else { continue };
            let words = format!("{name} {value:.3}");
            drawn.push(match self.curves.get_mut(place) {
                Some(curve) => {
                    curve.add(*value);
                    format!("{words} {}", curve.drawn(tops[place]))
                }
                None => words.clone(),
            });
            shown.push(words);
        }
        // what sampler and trainer differ by is far below 1 where all is well
        if let Some(mismatch) = metrics.get("logprob_mismatch") {
            let words = format!("mismatch {mismatch:.1e}");
            drawn.push(words.clone());
            shown.push(words);
        }
        let shown = shown.join("  ");
        let is_said = step.is_multiple_of(10) || step == total;
        let line = format!("step {step}/{total}  {shown}");
        if is_said && self.lines {
            errln!("{line}");
        } else if is_said {
            output::log_line(&line);
        }
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(step);
            bar.set_prefix("train");
            bar.set_message(drawn.join("  "));
        }
        let warnings = self.watch.as_mut().map(|watch| watch.look(step)).unwrap_or_default();
        warnings.iter().for_each(|warning| self.say(warning));
    }

    fn note(&mut self, message: &str) {
        self.heard_of_recipe();
        self.say(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
