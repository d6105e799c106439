// The page's elements, which its script fills, and the policy that admits that script. See
// status_page.h.
#include "kvalign/monitor/status_page.h"

#include <openssl/evp.h>

#include <array>

#include "kvalign/core/sha256.h"
#include "kvalign/evaluate/page_style.h"
#include "status_script.h"

namespace kvalign {
namespace {

constexpr const char* kTileStyle = R"(.tiles{display:grid;gap:.6rem;margin:1rem 0;
grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr))}
.tiles div{background:var(--panel);border-radius:.3rem;padding:.5rem .7rem}
.tiles dt{color:var(--soft);font-size:.85rem}
.tiles dd{margin:0;font-size:1.2rem;font-variant-numeric:tabular-nums}
[hidden]{display:none}
)";

std::string tile(const char* id, const char* title) {
  return std::string("<div><dt>") + title + "</dt><dd id=\"" + id + "\">–</dd></div>\n";
}

// `columns`: cells of the head, as markup.
std::string table(const std::string& id, const std::string& caption, const std::string& columns) {
  return "<p class=\"caption\">" + caption +
         "</p>\n<div class=\"table\" role=\"region\" tabindex=\"0\" aria-label=\"" + caption +
         "\">\n<table>\n<thead><tr>" + columns + "</tr></thead>\n<tbody id=\"" + id +
         "\"></tbody>\n</table>\n</div>\n";
}

std::string body() {
  return R"(<h1 id="name">kvalign</h1>
<div id="verdict" class="verdict failed" role="status"><strong id="verdict-title">… Asking</strong>
<p id="verdict-text">The page asks the server for its numbers; it needs JavaScript.</p></div>
<dl class="tiles">
)" + tile("requests", "Requests") +
         tile("rate", "Requests a second") + tile("in-flight", "In flight") +
         tile("queue", "Queue") + tile("tokens", "Tokens of caches") +
         tile("generated", "Tokens written") + tile("received", "Received") + tile("sent", "Sent") +
         tile("saturated", "FP8 saturated") + tile("reloads", "Reloads") +
         "</dl>\n<section>\n<h2>Answers</h2>\n" +
         table("answers", "Since the server's start",
               "<th>Model, method</th><th>Status</th><th>Cache</th><th>Reason</th>"
               "<th>Requests</th><th>Share</th>") +
         "</section>\n<section>\n<h2>Time</h2>\n" +
         table("phases", "Of the latest requests, 1,000 at most",
               "<th>Phase</th><th>Requests</th><th>p50</th><th>p95</th><th>max</th>") +
         "</section>\n<section>\n<h2>Errors</h2>\n"
         "<figure id=\"plot-figure\" hidden>\n<div id=\"plot\"></div>\n<figcaption>"
         "The certified errors bound what rounding to FP8 changed the numbers that came by, and "
         "what is projected from them (service.certificate.of: projected), median over a request's "
         "tokens. The measured one is the distance from the cache that the "
         "receiver would have made itself, of requests sampled for it: it holds the projector's "
         "own error too, so it may be the larger.</figcaption>\n</figure>\n" +
         table("errors", "Relative, of the latest requests, 200 at most",
               "<th>Error</th><th>Requests</th><th>p50</th><th>p95</th><th>max</th>") +
         "<p>Not finite since the start: <span id=\"undefined-errors\">–</span></p>\n"
         "</section>\n<section>\n<h2>Drift</h2>\n" +
         table("drift", "Requests against held-out data",
               "<th>Model</th><th>Alarm</th><th>p-value</th><th>Evidence</th><th>Alarm at</th>"
               "<th>Requests of this round</th><th>Rounds with alarm</th><th>Reference</th>") +
         "<p>Evidence is the power of ten of a bet that requests are unlike the held-out data. In "
         "a round without drift it reaches the alarm with a chance of at most alpha (10 to minus "
         "the alarm's place); an alarm ends when a whole round went by without one.</p>\n"
         "</section>\n";
}

// 'sha256-<base64>', as a policy names what it allows.
std::string hash_source(const std::string& text) {
  const std::string digits = sha256_hex(text);
  std::array<unsigned char, 32> digest = {};
  for (size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<unsigned char>(std::stoi(digits.substr(2 * i, 2), nullptr, 16));
  }
  std::array<unsigned char, 45> base64 = {};  // 44 characters and the 0 that OpenSSL ends with
  EVP_EncodeBlock(base64.data(), digest.data(), static_cast<int>(digest.size()));
  return std::string("'sha256-") + reinterpret_cast<const char*>(base64.data()) + "'";
}

}  // namespace

std::string status_page() {
  const std::string style = page_style() + kTileStyle;
  const std::string script = kStatusScript;
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src " +
         hash_source(style) + "; script-src " + hash_source(script) +
         "; connect-src 'self'; base-uri 'none'; form-action 'none'\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<title>kvalign server</title>\n<style>" +
         style + "</style>\n</head>\n<body>\n<main>\n" + body() + "</main>\n<script>" + script +
         "</script>\n</body>\n</html>\n";
}

}  // namespace kvalign
