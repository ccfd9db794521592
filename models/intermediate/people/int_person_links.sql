{# Pairs of identifiers that something says are one person, beside what comes in one event. A feed with merges adds its
   pairs here. #}
{{ config(materialized='view') }}

with

final as (

    select
        cast(null as {{ dbt.type_string() }}) as identifier_a,
        cast(null as {{ dbt.type_string() }}) as identifier_b
    where false

)

select * from final
