// What the delegate says besides errors.
#ifndef ACCQ_DELEGATE_LOG_H_
#define ACCQ_DELEGATE_LOG_H_

#include <string>

namespace accq {

// To standard error, which Android's apps do not show: there to the system's log as well.
void Log(const std::string& text);

}  // namespace accq

#endif  // ACCQ_DELEGATE_LOG_H_
