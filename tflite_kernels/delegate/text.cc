#include "delegate/text.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace accq {
namespace {

// Length of the valid UTF-8 sequence at `s` (NUL-terminated), or 0.
size_t Utf8Length(const unsigned char* s) {
  if (s[0] < 0x80) return 1;
  size_t length = 0;
  unsigned low = 0x80, high = 0xBF;  // limits of the second byte
  if (s[0] >= 0xC2 && s[0] <= 0xDF) length = 2;
  if (s[0] >= 0xE0 && s[0] <= 0xEF) length = 3;
  if (s[0] >= 0xF0 && s[0] <= 0xF4) length = 4;
  if (s[0] == 0xE0) low = 0xA0;   // else overlong
  if (s[0] == 0xED) high = 0x9F;  // else a surrogate
  if (s[0] == 0xF0) low = 0x90;   // else overlong
  if (s[0] == 0xF4) high = 0x8F;  // else beyond U+10FFFF
  if (length == 0 || s[1] < low || s[1] > high) return 0;
  // A NUL is no continuation byte, so this stops at the end of the text.
  for (size_t i = 2; i < length; ++i) {
    if ((s[i] & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

std::string Format(const char* format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  const int length = vsnprintf(nullptr, 0, format, arguments);
  va_end(arguments);
  std::string text;
  if (length > 0) {
    text.resize(static_cast<size_t>(length) + 1);
    vsnprintf(&text[0], text.size(), format, again);
    text.resize(static_cast<size_t>(length));
  }
  va_end(again);
  return text;
}

std::string Printable(const char* text) {
  std::string out;
  if (text == nullptr) return out;
  const unsigned char* s = reinterpret_cast<const unsigned char*>(text);
  while (*s != 0) {
    const size_t length = Utf8Length(s);
    if (length == 0 || *s < 0x20 || *s == 0x7F) {
      out += '?';
      ++s;
    } else {
      out.append(reinterpret_cast<const char*>(s), length);
      s += length;
    }
  }
  return out;
}

std::string ShortName(const char* name) {
  constexpr size_t kLimit = 100;
  std::string text = Printable(name);
  if (text.size() <= kLimit) return text;
  size_t end = kLimit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

std::string JsonString(const std::string& printable) {
  std::string out = "\"";
  for (char c : printable) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace accq
