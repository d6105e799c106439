// An eventfd. See the header.
#include "event_descriptor.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace kvalign {

EventDescriptor::EventDescriptor() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

EventDescriptor::~EventDescriptor() {
  ::close(descriptor_);
}

void EventDescriptor::set() {
  eventfd_write(descriptor_, 1);
}

}  // namespace kvalign
