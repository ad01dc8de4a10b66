// The part of Boost.Asio that is no template (BOOST_ASIO_SEPARATE_COMPILATION, cmake/toolchain.cmake).
#include <boost/asio/impl/src.hpp>
