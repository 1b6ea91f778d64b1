//! The files of the page, all in the binary.

/// A file of the page.
pub(crate) struct Asset {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        Asset { name: $name, kind: $kind, text: include_str!(concat!("../assets/", $name)) }
    };
}

/// The page itself, with a line for each file at `<!--styles-->` and `<!--scripts-->`.
pub(crate) const PAGE: &str = include_str!("../assets/page.html");

/// Styles and scripts, in the order in which they are loaded.
pub(crate) const ASSETS: [Asset; 12] = [
    asset!("uplot.css", STYLE),
    asset!("style.css", STYLE),
    asset!("uplot.js", SCRIPT),
    asset!("basis.js", SCRIPT),
    asset!("charts.js", SCRIPT),
    asset!("front.js", SCRIPT),
    asset!("health.js", SCRIPT),
    asset!("overview.js", SCRIPT),
    asset!("group.js", SCRIPT),
    asset!("chat.js", SCRIPT),
    asset!("trajectories.js", SCRIPT),
    asset!("main.js", SCRIPT),
];

/// The page with its files beside it.
pub(crate) fn with_links() -> String {
    let styles = of_kind(STYLE)
        .map(|asset| format!("<link rel=\"stylesheet\" href=\"/assets/{}\">\n", asset.name));
    let scripts = of_kind(SCRIPT)
        .map(|asset| format!("<script src=\"/assets/{}\" defer></script>\n", asset.name));
    put_together(&styles.collect::<String>(), &scripts.collect::<String>())
}

/// The page with its files inside, something at the end of its head, and something before the
/// scripts.
pub(crate) fn with_all(head: &str, before: &str) -> String {
    let styles = of_kind(STYLE).map(|asset| format!("<style>\n{}</style>\n", asset.text));
    let scripts = of_kind(SCRIPT).map(|asset| format!("<script>\n{}</script>\n", asset.text));
    let scripts = before.to_owned() + &scripts.collect::<String>();
    put_together(&(head.to_owned() + &styles.collect::<String>()), &scripts)
}

fn of_kind(kind: &'static str) -> impl Iterator<Item = &'static Asset> {
    ASSETS.iter().filter(move |asset| asset.kind == kind)
}

fn put_together(styles: &str, scripts: &str) -> String {
    // each place once, from the end, so that what is put in is not looked through
    let (head, rest) = PAGE.split_once("<!--styles-->").expect("the page has a place for styles");
    let (body, end) = rest.split_once("<!--scripts-->").expect("and one for scripts");
    [head, styles, body, scripts, end].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_put_text_into_the_page_and_never_markup() {
        let markup = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("];
        for asset in ASSETS.iter().filter(|asset| asset.name != "uplot.js") {
            let found = markup.iter().find(|way| asset.text.contains(**way));
            assert_eq!(found, None, "{}", asset.name);
            // nothing is fetched from elsewhere
            let own = asset.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!own.contains("http://") && !own.contains("https://"), "{}", asset.name);
        }
        // the drawing library is given no text that it would take for markup
        let charts = include_str!("../assets/charts.js");
        assert!(charts.contains("legend: { show: false }"));
    }

    #[test]
    fn what_is_inside_of_the_page_cannot_end_its_element() {
        for asset in &ASSETS {
            let lower = asset.text.to_lowercase();
            assert!(!lower.contains("</script") && !lower.contains("</style"), "{}", asset.name);
        }
        assert!(with_links().contains("src=\"/assets/main.js\""));
        assert!(with_all("", "").contains("use strict"));
    }
}
