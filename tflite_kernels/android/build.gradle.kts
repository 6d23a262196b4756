// AccqDelegate and its library as an Android library. Its Gradle build includes this project; see
// examples/android/settings.gradle.kts.
plugins {
    id("com.android.library")
}

android {
    namespace = "org.kerasaccq"
    compileSdk = 35

    defaultConfig {
        minSdk = 24
        consumerProguardFiles("consumer-rules.pro")
        ndk {
            abiFilters += listOf("arm64-v8a", "x86_64")
        }
        externalNativeBuild {
            cmake {
                arguments += listOf(
                    "-DACCQ_BUILD_JNI=ON",
                    "-DACCQ_WERROR=OFF",
                    "-DANDROID_STL=c++_static",
                )
                targets += "accq_delegate_jni"
            }
        }
    }

    externalNativeBuild {
        cmake {
            path = file("../CMakeLists.txt")
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
}

dependencies {
    // Only the interface org.tensorflow.lite.Delegate: the app brings the runtime.
    compileOnly("com.google.ai.edge.litert:litert-api:1.4.0")
}
