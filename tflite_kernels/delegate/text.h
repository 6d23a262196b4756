// Building texts: error messages and JSON strings.
#ifndef ACCQ_DELEGATE_TEXT_H_
#define ACCQ_DELEGATE_TEXT_H_

#include <string>

namespace accq {

// printf into a string.
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
std::string Format(const char* format, ...);

// The text as valid UTF-8 without control characters: names come from files and may hold any
// bytes, while the readers of our messages (Python, JSON) refuse what is not UTF-8. Every
// offending byte becomes '?'. Null gives "".
std::string Printable(const char* text);

// Printable, cut to what fits a message: runtimes print into buffers of about 1000 bytes.
std::string ShortName(const char* name);

// A JSON string literal, quotes included.
std::string JsonString(const std::string& printable);

}  // namespace accq

#endif  // ACCQ_DELEGATE_TEXT_H_
