// EXPECT_THROWS_WITH(expression, "text"): the expression throws an exception whose message holds
// the text. Every check of the library has a test that makes it fire and reads what it says.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <exception>

#define EXPECT_THROWS_WITH(expression, text)                            \
  try {                                                                 \
    (void)(expression);                                                 \
    ADD_FAILURE() << #expression " did not throw";                      \
  } catch (const std::exception& error) {                               \
    EXPECT_THAT(std::string(error.what()), ::testing::HasSubstr(text)); \
  }
